"""Scored responses become pairs in proportion: all of a few, some of many, and data that would fill memory are refused."""

from __future__ import annotations

import json

import pytest

from pareto.data import pairing
from pareto.data.pairing import check_number, pairs_of
from pareto.data.rows import ReadRule, read_preferences
from pareto.errors import DataError
from pareto.rng import generator


def stream():
    return generator("pairing", 1)


def nothing_is_drawn():
    raise AssertionError


def test_all_pairs_of_a_few_whose_texts_differ():
    # entries 4, 5 and 7 hold texts 0, 1 and 0: 4 and 7 are equal
    texts = {4: 0, 5: 1, 7: 0}
    assert pairs_of([4, 5, 7], texts, None, nothing_is_drawn) == ([(4, 5), (5, 7)], 1)  # type: ignore[arg-type]
    assert pairs_of([4, 5, 7], texts, 2, nothing_is_drawn) == ([(4, 5), (5, 7)], 1)  # type: ignore[arg-type]


def test_some_of_many_are_drawn_without_holding_all():
    n = 3000  # 4,498,500 pairs
    texts = [0 if i % 2 else i for i in range(n)]  # every second text is the same
    pairs, equal = pairs_of(range(n), texts, 500, stream)
    assert len(set(pairs)) == 500
    assert pairs == sorted(pairs)
    assert all(i < j and texts[i] != texts[j] for i, j in pairs)
    assert pairs_of(range(n), texts, 500, stream) == (pairs, equal)
    assert 100 < equal < 300  # a quarter of all pairs are two of the same text


def test_pairs_out_of_proportion_are_refused():
    check_number([1414], None)  # 998,991 pairs: always made
    check_number([200] * 100_000, None)  # 99.5 pairs a response
    with pytest.raises(
        DataError, match=r"2000 scored responses to 1 prompts would make 1999000 pairs .*pairs-per-prompt"
    ):
        check_number([2000], None)
    check_number([2000], 10_000)
    with pytest.raises(DataError, match="at most 20000100 are made"):
        check_number([1000] * 200 + [1], None)  # 99,900,000


def test_a_prompt_that_is_always_the_same_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(pairing, "MOST_PAIRS", 1000)
    monkeypatch.setattr(pairing, "PER_RESPONSE", 2)
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "", "responses": [f"r{i}"], "scores": [{"good": i}]} for i in range(100)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="100 scored responses to 1 prompts would make 4950 pairs"):
        read_preferences([path])
    data, _ = read_preferences([path], ReadRule(pairs_per_prompt=50))
    assert len(data) == 50
