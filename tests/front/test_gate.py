"""The gate: what passes, what is set aside, what is refused, and what it says."""

import warnings

import numpy as np
import pandas as pd
import pytest

from pareto.errors import ObjectiveError, ShapeError, UsageError
from pareto.front import OutsideReferenceWarning, QuarantineWarning, admit, hypervolume, indicators
from pareto.front.gate import MAX_OBJECTIVES, reference
from pareto.objectives import Objective, Objectives

GOOD = np.array([[3.0, 1.0], [2.0, 2.0], [1.0, 3.0]])


def test_clean_points_pass_untouched():
    points = admit(GOOD)
    assert points.values.dtype == np.float64
    np.testing.assert_array_equal(points.values, GOOD)
    assert list(points.ids) == [0, 1, 2]
    assert points.quarantined == ()
    assert points.kept.all()


def test_rows_that_are_not_finite_are_named_and_nothing_else_is_lost():
    rows = np.array([[1, 2], [np.nan, 2], [3, -np.inf], [np.nan, np.inf], [4, 5]])
    points = admit(rows, ids=["a", "b", "c", "d", "e"], objectives=["helpful", "brief"])
    np.testing.assert_array_equal(points.values, [[1, 2], [4, 5]])
    assert list(points.ids) == ["a", "e"]
    assert points.quarantined == (
        ("b", "nan in helpful"),
        ("c", "inf in brief"),
        ("d", "nan in helpful, inf in brief"),
    )
    np.testing.assert_array_equal(points.scatter(np.array([7.0, 8.0]), 0.0), [7, 0, 0, 0, 8])


def test_directions_turn_columns_once():
    np.testing.assert_array_equal(admit([[1, 2]], directions=["max", "min"]).values, [[1, -2]])
    named = Objectives([Objective("a"), Objective("cost", "min")])
    np.testing.assert_array_equal(admit([[1, 2]], objectives=named).values, [[1, -2]])


def test_frames_are_read_by_name_and_keep_their_index():
    frame = pd.DataFrame({"b": [1.0, 2.0], "note": ["x", "y"], "a": [3.0, None]}, index=["p", "q"])
    points = admit(frame, objectives=["a", "b"])
    np.testing.assert_array_equal(points.values, [[3, 1]])
    assert list(points.ids) == ["p"]
    assert points.quarantined == (("q", "nan in a"),)
    with pytest.raises(ObjectiveError, match="no column 'c'"):
        admit(frame, objectives=["a", "c"])
    nullable = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [1.0, 2.0]})
    assert admit(nullable).quarantined == (("1", "nan in a"),)


def test_tensors_are_read_by_duck_typing():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(GOOD, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(admit(tensor).values, GOOD)
    assert hypervolume(tensor, torch.zeros(2)) == 6.0


@pytest.mark.parametrize("values", [GOOD.tolist(), GOOD.astype(np.float32), GOOD.astype(int), GOOD[:, ::-1], GOOD[::-1].T.T, np.asfortranarray(GOOD), np.ma.array(GOOD)])  # fmt: skip
def test_any_layout_of_numbers_gives_the_same_volume(values):
    assert hypervolume(values, [0, 0]) == 6.0


def test_masked_cells_and_none_are_quarantined():
    masked = np.ma.array(GOOD, mask=[[0, 0], [1, 0], [0, 0]])
    assert admit(masked).quarantined == (("1", "nan in objective 0"),)
    assert admit([[1.0, None]]).quarantined == (("0", "nan in objective 1"),)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 2)), pd.DataFrame({"a": [], "b": []})])
def test_the_empty_set_passes(empty):
    assert len(admit(empty)) == 0


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0],
        5.0,
        np.zeros((2, 2, 2)),
        np.zeros((3, 0)),
        np.zeros((2, MAX_OBJECTIVES + 1)),
        [["1", "2"]],
        np.array([["a", "b"]], dtype=object),
        [[1.0, 2.0], [3.0]],
        np.array([[1 + 2j, 0]]),
        np.array([["2020-01-01"]], dtype="datetime64[D]"),
        [[{}, 1]],
        None,
    ],
    ids=repr,
)
def test_what_is_not_a_table_of_numbers_is_refused(values):
    with pytest.raises(ShapeError):
        admit(values)


def test_ids_and_directions_must_fit():
    with pytest.raises(ShapeError, match="3 points need 3 ids; got 2"):
        admit(GOOD, ids=["a", "b"])
    with pytest.raises(ShapeError, match="2 columns but 3 objectives"):
        admit(GOOD, directions=["max", "max", "min"])
    with pytest.raises(ObjectiveError, match="'max' or 'min'"):
        admit(GOOD, directions=["max", "up"])
    with pytest.raises(ShapeError, match="must be a list"):
        admit(GOOD, directions="max")
    with pytest.raises(UsageError, match="not both"):
        admit(GOOD, objectives=["a", "b"], directions=["max", "max"])


def test_reference_points_are_checked():
    np.testing.assert_array_equal(reference(0, 3), [0, 0, 0])
    np.testing.assert_array_equal(reference([1, 2], 2, ["max", "min"]), [1, -2])
    with pytest.raises(UsageError, match="finite"):
        reference([0, np.nan], 2)
    with pytest.raises(UsageError, match="finite"):
        reference([0, -np.inf], 2)
    with pytest.raises(ShapeError, match="needs 2 numbers"):
        reference([0, 0, 0], 2)


def test_quarantine_and_outside_points_are_said_aloud_where_the_caller_stands():
    with pytest.warns(QuarantineWarning, match=r"1 of 4 points .*: 3 \(nan in objective 1\)") as caught:
        assert hypervolume([*GOOD.tolist(), [9.0, np.nan]], [0, 0]) == 6.0
    assert caught[0].filename == __file__
    with pytest.warns(OutsideReferenceWarning, match="2 of 3 points") as caught:
        hypervolume(GOOD, [1, 1])
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hypervolume(GOOD, [0, 0])


def test_a_long_quarantine_is_counted_and_cut_short():
    with pytest.warns(QuarantineWarning, match="8 of 11 points .*; and 3 more"):
        hypervolume(np.r_[GOOD, np.full((8, 2), np.nan)], [0, 0])


def test_counts_are_in_the_indicators():
    with pytest.warns((QuarantineWarning, OutsideReferenceWarning)):
        figures = indicators(np.r_[GOOD, [[np.nan, 1], [-1, 9]]], [0, 0])
    assert (figures["n"], figures["quarantined"], figures["outside_ref_point"]) == (4, 1, 1)
    assert figures["hypervolume"] == 6.0
