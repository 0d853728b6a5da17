"""What a data report means, sentence by sentence."""

from __future__ import annotations

import pytest

from pareto.data.advice import advice
from pareto.data.report import ConflictReport, DataReport, ObjectiveReport


def objective(name: str, decided: int = 100, ties: int = 0, missing: int = 0, longer: float | None = 0.5):
    return ObjectiveReport(name, decided, ties, missing, longer, 0, 0)


def report(objectives, conflicts=(), pairs: int = 100) -> DataReport:
    return DataReport(10, 20, pairs, 0, {}, 0, 0, 0, 0, objectives, conflicts)


TWO = [objective("a"), objective("b")]


@pytest.mark.parametrize(
    ("both", "disagree", "says"),
    [
        (100, 0.95, "opposite responses in 95% of the pairs"),
        (100, 0.05, "agree on 95% of the pairs"),
        (5, 1.0, "labelled on different pairs (5 in common)"),
    ],
)
def test_two_objectives(both: int, disagree: float, says: str):
    (line,) = advice(report(TWO, [ConflictReport("a", "b", both, disagree, None)]))
    assert says in line
    assert line.startswith("a and b")


def test_ordinary_data_need_no_words():
    assert advice(report(TWO, [ConflictReport("a", "b", 100, 0.4, 0.2)])) == []
    assert advice(report([], pairs=0)) == []
    few = [objective("a", decided=8, longer=1.0), objective("b", decided=8)]
    assert advice(report(few, [ConflictReport("a", "b", 8, 1.0, -1.0)], pairs=8)) == []


def test_one_objective():
    lines = advice(report([objective("a", decided=25, ties=15, missing=60, longer=0.2)]))
    assert [line.split(" ")[1:4] for line in lines] == [
        ["is", "unknown", "for"],
        ["has", "a", "tie"],
        ["goes", "to", "the"],
    ]
    assert "60%" in lines[0]
    assert "38%" in lines[1]  # 15 of 40
    assert "shorter response in 80%" in lines[2]


def test_sets_of_different_size():
    (line,) = advice(report([objective("a", decided=20), objective("b", decided=100)]))
    assert "20 to 100 pairs" in line
