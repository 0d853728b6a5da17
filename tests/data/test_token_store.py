"""Token ids on the disk: the same tables, digests and pairs as in memory; nothing half-written is opened."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pytest

from pareto.data import pairs as pairs_module
from pareto.data import token_store, tokenise
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.data.rows import ReadRule, read_preferences
from pareto.data.token_store import RowsInMemory, RowsOnDisk, open_table, write_table
from pareto.data.tokenise import Limits
from pareto.errors import ArtifactError
from pareto.state import manifest
from tests.models import tiny

ROWS = [[1, 2, 3], [], [7], [4, 5], [6] * 9]
TABLE = ResponseTable(Ragged.of([[9], [8, 8]]), Ragged.of(ROWS), np.array([0, 0, 1, 1, 1]))


def same(one, other):
    """Whether two values of nested dataclasses and arrays are the same."""
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


def test_rows_grow_alike_in_memory_and_in_a_file(tmp_path):
    memory, disk = RowsInMemory(), RowsOnDisk(tmp_path / "x.i32")
    for part in (ROWS[:2], [], ROWS[2:]):
        memory.extend(part)
        disk.extend(part)
    assert same(disk.finish(), Ragged.of(ROWS))
    assert same(memory.finish(), Ragged.of(ROWS))
    empty = RowsOnDisk(tmp_path / "y.i32").finish()
    assert (len(empty), len(empty.flat)) == (0, 0)
    assert len(RowsInMemory().finish()) == 0


def test_a_store_is_the_same_table(tmp_path, monkeypatch):
    monkeypatch.setattr(token_store, "PIECE", 4)
    digest = write_table(tmp_path / "store", TABLE)
    table = open_table(tmp_path / "store")
    assert same(table, TABLE)
    assert not table.responses.flat.flags.writeable
    assert digest == table.sha256() == TABLE.sha256()
    assert manifest.verify(tmp_path / "store") == []
    assert (tmp_path / "store" / "responses.i32").read_bytes() == np.concatenate(ROWS).astype("<i4").tobytes()


def test_the_digest_is_that_of_all_ids_at_once(monkeypatch):
    h = hashlib.sha256()
    for ids, offsets in (([9, 8, 8], [0, 1, 3]), ([1, 2, 3, 7, 4, 5, *[6] * 9], [0, 3, 3, 4, 6, 15])):
        h.update(np.array(ids, np.int64).tobytes() + np.array(offsets, np.int64).tobytes())
    h.update(np.array([0, 0, 1, 1, 1], np.int64).tobytes())
    assert TABLE.sha256() == h.hexdigest()
    monkeypatch.setattr(pairs_module, "_PIECE", 2)
    assert TABLE.sha256() == h.hexdigest()


@pytest.mark.parametrize("name", ["manifest.json", "facts.json", "prompts.i32", "prompt_of.npy"])
def test_a_store_without_one_of_its_files_is_refused(name, tmp_path):
    write_table(tmp_path / "store", TABLE)
    (tmp_path / "store" / name).unlink()
    with pytest.raises(ArtifactError, match=r"not a whole token store .* tokenise again"):
        open_table(tmp_path / "store")


def test_a_store_that_was_cut_short_or_is_of_another_format_is_refused(tmp_path):
    write_table(tmp_path / "store", TABLE)
    ids = tmp_path / "store" / "responses.i32"
    ids.write_bytes(ids.read_bytes()[:-4])
    with pytest.raises(ArtifactError, match=r"responses\.i32 holds 14 ids, expected 15"):
        open_table(tmp_path / "store")
    facts = tmp_path / "store" / "facts.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "format": 2}))
    with pytest.raises(ArtifactError, match="format 2, expected 1"):
        open_table(tmp_path / "store")


def rows(path, n=300):
    """Preference rows of several shapes, with texts that come again."""
    draw = np.random.default_rng(3)
    words = ["the cat", " sat", "ran far", "é 漢", "a", "on the mat"]

    def text():
        return " ".join(draw.choice(words, draw.integers(1, 8)))

    with path.open("w", encoding="utf-8") as file:
        for i in range(n):
            prompt = f"say {draw.integers(0, 40)}: {words[i % 3]}"
            row = {"prompt": prompt, "chosen": text() + " +", "rejected": text(), "objective": f"o{i % 2}"}
            if i % 5 == 0:
                scores = [{"o0": float(k), "o1": float(-k)} for k in range(3)]
                row = {"prompt": prompt, "responses": [text() + str(k) for k in range(3)], "scores": scores}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.mark.parametrize(
    "limits", [Limits(), Limits(prompt_tokens=9, response_tokens=12, long_response="drop")]
)
def test_streaming_gives_what_memory_gives(limits, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenise, "CHUNK", 64)
    path = rows(tmp_path / "rows.jsonl")
    data, counts = read_preferences([path])
    streamed, their = read_preferences([path], ReadRule(spool_bytes=0), tmp_path / "texts")
    assert their == counts
    assert (tmp_path / "texts" / "responses.texts").stat().st_size > 0
    assert list(streamed.prompts) == data.prompts
    keep = np.arange(len(data.prompts)) % 3 > 0
    for whole, part in ((data, streamed), (data.of_prompts(keep), streamed.of_prompts(keep))):
        want = tokenise.tokenise(whole, tiny.tokenizer(), limits)
        got = tokenise.tokenise(part, tiny.tokenizer(), limits, tmp_path / "ids")
        assert same(got, want)
        assert got.pairs.table.sha256() == want.pairs.table.sha256()
        assert isinstance(got.pairs.table.responses.flat.base, np.memmap)


def test_small_files_stay_in_memory(tmp_path):
    data, _ = read_preferences([rows(tmp_path / "rows.jsonl", 10)], None, tmp_path / "texts")
    assert isinstance(data.prompts, list)
    assert not (tmp_path / "texts").exists()


def test_large_tables_are_stored_apart_and_mapped(tmp_path, monkeypatch):
    data, _ = read_preferences([rows(tmp_path / "rows.jsonl", 40)])
    pairs = tokenise.tokenise(data, tiny.tokenizer(), Limits()).pairs
    pairs.save(tmp_path / "small.npz")
    monkeypatch.setattr(pairs_module, "STORE_IDS", 10)
    pairs.save(tmp_path / "large.npz")
    assert not (tmp_path / "small.tokens").exists()
    assert (tmp_path / "large.npz").stat().st_size < (tmp_path / "small.npz").stat().st_size
    assert same(PreferencePairs.load(tmp_path / "small.npz"), pairs)
    loaded = PreferencePairs.load(tmp_path / "large.npz")
    assert same(loaded, pairs)
    assert isinstance(loaded.table.responses.flat.base, np.memmap)
    (tmp_path / "large.tokens" / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="not a whole token store"):
        PreferencePairs.load(tmp_path / "large.npz")
