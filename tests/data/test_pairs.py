"""Tokenised pairs survive the disk and refuse what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.errors import DataError, ShapeError
from pareto.objectives import Objectives


def pairs(**columns):
    table = ResponseTable(
        Ragged.of([[1, 2], [3]]), Ragged.of([[4], [5, 6], [7], [8]]), np.array([0, 0, 1, 1])
    )
    labels = np.float32([[1, np.nan], [0, -1]])
    return PreferencePairs(
        Objectives(["h", "b"]), table, np.array([0, 2]), np.array([1, 3]), labels, **columns
    )


@pytest.mark.parametrize("columns", [{}, {"margin": np.float32([0.5, 1]), "user": np.array([3, -1])}])
def test_round_trip(tmp_path, columns):
    before = pairs(**columns)
    before.save(tmp_path / "pairs.npz")
    after = PreferencePairs.load(tmp_path / "pairs.npz")
    assert after.objectives.names == ("h", "b")
    assert after.table.sha256() == before.table.sha256()
    for name in ("a", "b", "labels", "weight", "margin", "user", "group"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_decided_puts_the_winner_first():
    rows, chosen, rejected = pairs().decided("b")
    assert (rows.tolist(), chosen.tolist(), rejected.tolist()) == ([1], [3], [2])


def test_pairs_across_prompts_are_refused():
    good = pairs()
    with pytest.raises(DataError, match="must answer one prompt; pair 0"):
        PreferencePairs(good.objectives, good.table, np.array([0]), np.array([2]), good.labels[:1])
    with pytest.raises(ShapeError, match="must agree"):
        PreferencePairs(good.objectives, good.table, good.a, good.b, good.labels[:, :1])


def test_taken_sequences_come_in_the_order_of_the_rows():
    own = Ragged.of([[1, 2], [], [3], [4, 5, 6]])
    assert [row.tolist() for row in own.take(np.array([3, 1, 0, 3]))] == [[4, 5, 6], [], [1, 2], [4, 5, 6]]
    assert len(own.take(np.zeros(0, np.int64))) == 0
