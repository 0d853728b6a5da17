"""Readers of particular files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pareto.data.bad_rows import BadRows
from pareto.data.paths import data_folder
from pareto.data.preferences import Band
from pareto.data.rows import ReadRule, read_preferences
from pareto.data.sources import SOURCES
from pareto.errors import DataError, UnknownNameError

REAL = data_folder() / "alpaca_eval" / "outputs.jsonl.gz"


def test_alpaca_eval_rows_become_scored_responses(tmp_path):
    path = tmp_path / "outputs.jsonl"
    rows = [
        {"instruction": "i", "generator": "a", "output": "long one", "win": 0.5},
        {"instruction": "j", "generator": "a", "output": "x", "win": 0.5},
        {"instruction": "i", "generator": "b", "output": "short", "win": 0.0},
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    scored = list(SOURCES.get("alpaca_eval")(path, BadRows()))
    assert scored[0] == (
        1,
        {
            "prompt": "i",
            "responses": ["long one", "short"],
            "scores": [{"win": 0.5, "brevity": -8.0}, {"win": 0.0, "brevity": -5.0}],
        },
    )
    rows[1]["win"] = 2
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(DataError, match=r"outputs.jsonl:2: 'win' must be a probability"):
        read_preferences([path], ReadRule(source="alpaca_eval"))


def test_an_unknown_source_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'alpaca_eval'"):
        read_preferences([REAL], ReadRule(source="alpacaeval"))


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not there")
def test_the_real_file_holds_a_conflict():
    rule = ReadRule(source="alpaca_eval", bands={"win": Band(0.05), "brevity": Band(0.0, 0.1)})
    data, counts = read_preferences([REAL], rule)
    assert (len(data.prompts), counts.rows, counts.bad) == (805, 805, 0)
    both = (data.labels != 0).all(axis=1)
    disagree = (data.labels[both, 0] != data.labels[both, 1]).mean()
    assert disagree > 0.85
    # counted by hand from the file: 28 pairs of equal texts are left out of 805 * 10
    assert (len(data), counts.equal_responses) == (8022, 28)
    assert not np.isnan(data.labels).any()
