"""Cells: an id that stands for the work and nothing else; costs that add up."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from pareto.cells import Cell, Cost, canonical_json, digest

CELL = Cell(
    "policy", "method", {"beta": 0.1, "name": "modpo"}, {"reference": "abc"}, {"ore": 0.5, "fuel": 0.5}, 3
)


def test_canonical_json_has_one_form():
    assert canonical_json({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            canonical_json(bad)


def test_the_id_by_hand():
    text = (
        '{"maker":"method","needs":{"reference":"abc"},"seed":3,"spec":{"beta":0.1,"name":"modpo"},'
        '"weights":{"fuel":0.5,"ore":0.5}}'
    )
    assert CELL.id == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_id_changes_with_the_work_and_not_with_its_role_or_spelling():
    same = [
        replace(CELL, role="prerequisite"),
        replace(CELL, spec={"name": "modpo", "beta": 0.1}),
        replace(CELL, weights={"fuel": 0.5, "ore": 0.5}),
    ]
    others = [
        replace(CELL, maker="task"),
        replace(CELL, spec={"name": "modpo", "beta": 0.2}),
        replace(CELL, needs={"reference": "abd"}),
        replace(CELL, weights={"ore": 0.4, "fuel": 0.6}),
        replace(CELL, weights=None),
        replace(CELL, seed=4),
    ]
    assert {c.id for c in same} == {CELL.id}
    assert len({CELL.id, *(c.id for c in others)}) == 7


def test_what_is_written_is_read_back():
    again = Cell.from_json(json.loads(json.dumps(CELL.to_json())))
    assert again == CELL
    assert again.id == CELL.id


def test_costs_add_up_and_peaks_take_the_larger():
    one = Cost(train_tokens=5, env_steps=2, wall_s=1.5, peak_rss_mb=10.0)
    other = Cost(train_tokens=7, wasted_tokens=1, wall_s=0.5, peak_rss_mb=4.0, peak_gpu_mb=3.0)
    assert one + other == Cost(
        train_tokens=12, env_steps=2, wasted_tokens=1, wall_s=2.0, peak_rss_mb=10.0, peak_gpu_mb=3.0
    )
    assert one + Cost() == one
    assert (other + Cost(peak_gpu_mb=9.0)).peak_gpu_mb == 9.0
