"""Masks and ranks against the definition, point by point."""

import numpy as np
import pytest

from pareto.front import QuarantineWarning, dominance, non_dominated, non_dominated_ranks
from pareto.rng import generator
from tests.front.brute import KINDS, random_points
from tests.front.brute import non_dominated as brute_mask
from tests.front.brute import ranks as brute_ranks


@pytest.mark.parametrize("m", range(1, 10))
def test_mask_and_ranks_follow_the_definition(m):
    rng = generator("dominance", m)
    for trial in range(120):
        points = random_points(rng, int(rng.integers(1, 30)), m, KINDS[trial % len(KINDS)])
        np.testing.assert_array_equal(non_dominated(points), brute_mask(points))
        np.testing.assert_array_equal(non_dominated_ranks(points), brute_ranks(points))


def test_all_copies_of_a_non_dominated_point_are_marked():
    np.testing.assert_array_equal(non_dominated([[1, 2], [1, 2], [0, 2], [2, 1]]), [True, True, False, True])


def test_directions():
    np.testing.assert_array_equal(non_dominated([[1, 2], [1, 3]], directions=["max", "min"]), [True, False])


def test_empty():
    assert non_dominated([]).shape == (0,)
    assert non_dominated(np.zeros((0, 3))).dtype == bool
    assert non_dominated_ranks([]).shape == (0,)


@pytest.mark.parametrize("n", [999, 1000, 1001])
@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_rows_that_are_not_finite_change_nothing_for_the_others(n, m):
    points = random_points(generator("nan mask", m, n), n, m, "cube")
    clean = non_dominated(points)
    dirty = np.insert(points, [0, n // 2, n], np.nan, axis=0)
    dirty[0] = np.inf
    with pytest.warns(QuarantineWarning, match="3 of"):
        found = non_dominated(dirty)
    bad = ~np.isfinite(dirty).all(axis=1)
    assert not found[bad].any()
    np.testing.assert_array_equal(found[~bad], clean)
    with pytest.warns(QuarantineWarning):
        assert (non_dominated_ranks(dirty)[bad] == -1).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_thinning_out_large_crowds_drops_no_front_point(kind, m, monkeypatch):
    points = random_points(generator("thin", kind, m), 400, m, kind)
    plain = non_dominated(points)
    monkeypatch.setattr(dominance, "CROWD", 20)
    monkeypatch.setattr(dominance, "SAMPLE", 10)
    np.testing.assert_array_equal(non_dominated(points), plain)
    assert len(dominance._thin_out(points)) <= 400
