"""Objectives: directions are turned here and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.errors import ObjectiveError, ShapeError
from pareto.objectives import Objective, Objectives

ORE = Objectives([Objective("ore"), Objective("fuel", "min", "l")])


def test_parsing():
    assert Objectives.parse("ore, fuel:min").names == ("ore", "fuel")
    assert Objectives.parse("ore:max,fuel:min").signs.tolist() == [1.0, -1.0]
    assert Objectives.parse("ore:") == Objectives(["ore"])
    for text in ("", "ore:up", "ore,ore"):
        with pytest.raises(ObjectiveError):
            Objectives.parse(text)


@pytest.mark.parametrize("fields", [("",), ("a,b",), ("a=b",), ("a\n",), ("a\x1b[2J",), ("a\u2028",), ("a", "up"), ("a", "max", "r", 0.0), ("a", "max", "r", float("nan"))])  # fmt: skip
def test_what_is_no_objective_is_refused(fields):
    with pytest.raises(ObjectiveError):
        Objective(*fields)


def test_doubled_and_missing_objectives_are_refused():
    with pytest.raises(ObjectiveError, match="doubled: ore"):
        Objectives(["ore", "fuel", "ore"])
    with pytest.raises(ObjectiveError, match="at least one"):
        Objectives([])


def test_turning_twice_gives_the_values_back():
    values = np.array([[1.0, 2.0], [-3.0, 0.5]])
    assert ORE.orient(values).tolist() == [[1.0, -2.0], [-3.0, -0.5]]
    assert ORE.orient(ORE.orient(values)).tolist() == values.tolist()
    with pytest.raises(ShapeError, match="last axis 2"):
        ORE.orient([1.0, 2.0, 3.0])


def test_named_numbers_and_vectors():
    assert ORE.vector({"fuel": 2, "ore": 1}).tolist() == [1.0, 2.0]
    assert ORE.named([1, 2]) == {"ore": 1.0, "fuel": 2.0}
    with pytest.raises(ObjectiveError, match="missing: fuel"):
        ORE.vector({"ore": 1})
    with pytest.raises(ObjectiveError, match="did you mean 'fuel'"):
        ORE.vector({"ore": 1, "fule": 2})
    with pytest.raises(ShapeError, match="expected 2 numbers"):
        ORE.named([1])


def test_it_is_a_sequence_that_compares_by_content():
    assert len(ORE) == 2
    assert [o.name for o in ORE] == ["ore", "fuel"]
    assert ORE[1].unit == "l"
    assert ORE.index("fuel") == 1
    assert Objectives([Objective("ore"), Objective("fuel", "min", "l")]) == ORE
    assert hash(ORE) == hash(Objectives(list(ORE)))
    assert Objectives.parse("ore,fuel:max") != ORE
    assert repr(ORE) == "Objectives(ore:max, fuel:min)"


def test_what_is_written_is_read_back():
    assert Objectives.from_json(ORE.to_json()) == ORE
    assert ORE.to_json()[1] == {"name": "fuel", "direction": "min", "unit": "l"}
