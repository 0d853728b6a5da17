"""Long answers with marked errors: one question by hand, the real file by its known counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.data.bad_rows import BadRows
from pareto.data.paths import data_folder
from pareto.data.rows import ReadRule, read_preferences
from pareto.data.sources import SOURCES
from pareto.errors import DataError

REAL = data_folder() / "qa_feedback" / "dev_feedback.json"


def row(**more: Any) -> dict[str, Any]:
    found = {
        "question": "who?",
        "passages": [["Title", "One.", "Two."], ["Other", "Three."]],
        **{f"prediction {i}": f"p{i}" for i in range(1, 5)},
        "feedback": {
            "errors": [{"error type": "Redundant", "start": 0, "end": 1}],
            "missing-info": [{"passage_id": 1}],
            "corrected-prediction": "c ",
        },
        "preference": [1, 2, 0, 1, 1, 2],
    }
    return {**found, **more}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps(list(rows)))
    return path


def test_one_question_by_hand(tmp_path: Path):
    """Pairs 12, 13, 14, 23, 24, 34; 1 is the first, 2 the second, 0 a tie."""
    found = [r for _, r in SOURCES.get("qa_feedback")(write(tmp_path / "f.json", row()), BadRows())]
    aspects = {"relevance": 1, "factuality": 0, "completeness": 1}
    assert found[0] == {"prompt": "who?", "response_a": "c", "response_b": "p1", "preferences": aspects}
    told = [(r["response_a"], r["response_b"], r["preferences"]["overall"]) for r in found[1:]]
    assert told == [
        ("p1", "p2", 1),
        ("p1", "p3", -1),
        ("p1", "p4", 0),
        ("p2", "p3", 1),
        ("p2", "p4", 1),
        ("p3", "p4", -1),
    ]


def test_passages_stand_behind_the_question(tmp_path: Path):
    found = [r for _, r in SOURCES.get("qa_feedback_passages")(write(tmp_path / "f.json", row()), BadRows())]
    prompt = "question: who? context: wikipage: Title text: One. Two. wikipage: Other text: Three."
    assert {r["prompt"] for r in found} == {prompt}


def test_no_correction_says_nothing_of_aspects(tmp_path: Path):
    for corrected in ("", " p1 "):
        feedback = {**row()["feedback"], "corrected-prediction": corrected}
        path = write(tmp_path / "f.json", row(feedback=feedback))
        found = [r for _, r in SOURCES.get("qa_feedback")(path, BadRows())]
        assert [list(r["preferences"]) for r in found] == [["overall"]] * 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preference": [1, 2, 3, 1, 1, 1]}, "six of 0, 1, 2"),
        ({"feedback": {"errors": [{"error type": "Rude"}], "corrected-prediction": "c"}}, "got 'Rude'"),
        ({"feedback": None}, "mapping with a list of 'errors'"),
        ({"prediction 3": 7}, "prediction 3"),
    ],
)
def test_what_cannot_be_is_named(change: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        read_preferences([write(tmp_path / "f.json", row(**change))], ReadRule(source="qa_feedback"))


@pytest.mark.skipif(not REAL.is_file(), reason=f"{REAL} is not there")
def test_the_real_file():
    """500 questions; 13 without a correction and 6 whose correction changes nothing; 384 of 3,000 preferences are ties."""
    data, counts = read_preferences([REAL], ReadRule(source="qa_feedback"))
    assert (len(data.prompts), counts.bad) == (500, 0)
    overall = data.labels[:, data.objectives.index("overall")]
    assert (int((~np.isnan(overall)).sum()), int((overall == 0).sum())) == (3000, 384)
    aspects = np.stack(
        [data.labels[:, data.objectives.index(n)] for n in ("relevance", "factuality", "completeness")]
    )
    assert int((~np.isnan(aspects)).all(axis=0).sum()) == 500 - 13 - 6
    assert not np.isnan(aspects).any(axis=0)[np.isnan(overall)].any()  # a pair has all aspects or none
    # no intransitive triple: were 1 and 2 read the other way round for the second answer, there would be
    for prompt in range(500):
        mine = np.flatnonzero((data.prompt_of_pair == prompt) & (np.abs(np.nan_to_num(overall)) == 1))
        beats = {
            (int(data.a[i]), int(data.b[i])) if overall[i] > 0 else (int(data.b[i]), int(data.a[i]))
            for i in mine
        }
        assert not any((b, c) in beats and (c, a) in beats for a, b in beats for c in range(len(data.responses)) if (b, c) in beats)  # fmt: skip
