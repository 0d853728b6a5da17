"""Texts on the disk have the numbers, and are the texts, that they would have and be in memory."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.data.interned import BLOCK, InMemory, OnDisk, StoredTexts, take, where
from pareto.data.texts import Chat, Message

TEXTS = [
    "",
    "s",
    "[]",
    'a "quoted"\n line\u2028 and é, 漢, 😀',
    Chat((Message("user", "hi"),)),
    Chat((Message("user", "hi"),), '{"tools":1}'),
    Chat((Message("user", "hi"), Message("assistant", "", '{"name": "x"}'))),
]


def numbered(texts):
    rng = np.random.default_rng(0)
    said = [(TEXTS[i], int(o)) for i, o in zip(rng.integers(0, len(TEXTS), 60), rng.integers(-1, 3, 60))]
    return [texts.code(text, owner) for text, owner in said], [text for text, _ in said]


def test_both_number_alike_and_give_back_what_came(tmp_path):
    disk, memory = OnDisk(tmp_path / "texts"), InMemory()
    (codes, said), (want, _) = numbered(disk), numbered(memory)
    assert codes == want
    assert len(disk) == len(memory) == max(codes) + 1
    stored, plain = disk.texts(), memory.texts()
    assert list(stored) == list(plain)
    assert [stored[c] for c in codes] == said
    assert stored[-1] == plain[-1]
    assert stored[2:5] == plain[2:5]


def test_the_same_text_of_another_owner_is_another_one():
    texts = InMemory()
    assert [texts.code("a"), texts.code("a", 0), texts.code("a", 1), texts.code("a", 0)] == [0, 1, 2, 1]


def test_more_than_a_block_and_a_selection(tmp_path):
    disk = OnDisk(tmp_path / "new" / "texts")
    said = [f"text {i}" for i in range(2 * BLOCK + 5)]
    assert [disk.code(text) for text in said] == list(range(len(said)))
    stored = disk.texts()
    assert list(stored) == said
    keep = np.arange(len(said)) % 7 == 3
    few = where(stored, keep)
    assert isinstance(few, StoredTexts)
    assert list(few) == where(said, keep) == said[3::7]
    some = np.array([5, 0, 5])
    assert take(few, some) == take(said[3::7], some)


def test_numbers_out_of_range_are_refused(tmp_path):
    disk = OnDisk(tmp_path / "texts")
    disk.code("a")
    with pytest.raises(IndexError):
        disk.texts()[1]
    assert list(OnDisk(tmp_path / "none").texts()) == []


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "texts").write_text("mine")
    with pytest.raises(FileExistsError):
        OnDisk(tmp_path / "texts")
