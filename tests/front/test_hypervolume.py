"""Exact hypervolume and contributions against sums over subsets, grids, leave-one-out and a second engine."""

import numpy as np
import pytest

from pareto.errors import NumericsError, UsageError
from pareto.front import (
    engines,
    hypervolume,
    hypervolume_contributions,
    hypervolume_estimate,
    non_dominated,
    relative_hypervolume,
)
from pareto.front.approximation import approximate_volume, expected_seconds
from pareto.rng import generator
from tests.front.brute import KINDS, by_grid, by_inclusion_exclusion, random_points

pytestmark = pytest.mark.filterwarnings("ignore::pareto.front.OutsideReferenceWarning")


def test_known_volumes():
    assert hypervolume([[3, 1], [2, 2], [1, 3]], [0, 0]) == 6.0
    assert hypervolume([[2.0, 3.0, 4.0]], [1, 1, 1]) == 6.0  # one box, 1 x 2 x 3
    assert hypervolume([[5.0]], [2.0]) == 3.0
    assert hypervolume([[1.0, 10.0]], [0.0, 30.0], directions=["max", "min"]) == 20.0
    assert hypervolume([[0.5] * 9, [0.25] * 9], 0) == pytest.approx(0.5**9, rel=1e-12)
    # all unit vectors scaled by 2 with ones elsewhere: 1 + m boxes of height 1 beyond the unit cube
    for m in range(2, 10):
        assert hypervolume(np.ones((m, m)) + np.eye(m), 0) == pytest.approx(1 + m, rel=1e-12)


@pytest.mark.parametrize("m", range(1, 10))
@pytest.mark.parametrize("kind", KINDS)
def test_volume_is_the_sum_over_subsets(kind, m):
    rng = generator("volume", kind, m)
    for _ in range(19):  # 9 x 6 x 19 = 1,026 fronts
        points = random_points(rng, int(rng.integers(1, 8)), m, kind)
        ref = np.full(m, rng.choice([-0.5, 0.0, 0.25]))
        expected = by_inclusion_exclusion(points, ref)
        assert hypervolume(points, ref) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("m", "n"), [(2, 200), (3, 40), (4, 16), (5, 9)])
def test_volume_of_larger_sets_is_the_sum_over_cells(m, n):
    rng = generator("cells", m)
    for kind in KINDS:
        points = random_points(rng, n, m, kind)
        assert hypervolume(points, 0) == pytest.approx(by_grid(points, np.zeros(m)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_dropping_dominated_points_first_changes_nothing(kind):
    points = random_points(generator("crowd", kind), 1200, 5, kind)
    front = points[non_dominated(points)]
    halves = engines.volume(front[: len(front) // 2], np.zeros(5)), engines.volume(front, np.zeros(5))
    assert hypervolume(points, 0) == pytest.approx(halves[1], rel=1e-12)
    assert halves[0] <= halves[1]


@pytest.mark.parametrize("m", range(1, 10))
@pytest.mark.parametrize("kind", KINDS)
def test_contributions_are_what_is_lost_without_the_point(kind, m):
    rng = generator("contributions", kind, m)
    for _ in range(19):
        points = random_points(rng, int(rng.integers(1, 12)), m, kind)
        ref = np.full(m, rng.choice([-0.5, 0.0, 0.25]))
        found = hypervolume_contributions(points, ref)
        whole = engines.volume(points, ref)
        for i, share in enumerate(found):
            rest = np.delete(points, i, axis=0)
            expected = whole - (engines.volume(rest, ref) if len(rest) else 0.0)
            assert share == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(whole, 1e-3))
            if (points[i] <= ref).any() or (rest >= points[i]).all(axis=1).any():
                assert share == 0.0  # outside, dominated or doubled: exactly nothing


@pytest.mark.parametrize(("m", "n"), [(2, 300), (3, 200), (4, 400), (5, 200), (6, 40)])
@pytest.mark.parametrize("kind", ["sphere", "cube"])
def test_contributions_of_larger_sets(kind, m, n):
    points = random_points(generator("large", kind, m), n, m, kind)
    found = hypervolume_contributions(points, 0)
    whole = engines.volume(points, np.zeros(m))
    for i in range(0, n, n // 8):
        rest = engines.volume(np.delete(points, i, axis=0), np.zeros(m))
        assert found[i] == pytest.approx(whole - rest, rel=1e-7, abs=1e-11 * whole)


def test_a_dominated_point_behind_one_point_lessens_its_loss():
    # without (2, 2) the point (1, 1) still covers one unit of the four
    np.testing.assert_array_equal(hypervolume_contributions([[2, 2], [1, 1]], [0, 0]), [3, 0])
    np.testing.assert_array_equal(hypervolume_contributions([[2, 2], [2, 2]], [0, 0]), [0, 0])


@pytest.mark.parametrize("m", [2, 4, 6])
def test_numbers_beyond_float64_are_an_error_not_a_nan(m):
    points = np.full((40, m), 1e300) * np.linspace(0.5, 1, 40)[:, None]
    with pytest.raises(NumericsError, match="overflows"):
        hypervolume(points, -1e300)
    with pytest.raises(NumericsError, match="overflows"):
        hypervolume_contributions(points, -1e300)


def test_what_is_missing_is_named():
    with pytest.raises(UsageError, match="needs `ref_point`"):
        hypervolume([[1, 2]])
    with pytest.raises(UsageError, match="needs `reference_front`"):
        relative_hypervolume([[1, 2]], [0, 0])
    with pytest.raises(UsageError, match="finite"):
        hypervolume([[1, 2]], [0, np.inf])


def test_relative_hypervolume():
    assert relative_hypervolume([[1, 1]], [0, 0], [[2, 2], [np.sqrt(2), 1]]) == 0.25
    with pytest.raises(UsageError, match="beats the reference point"):
        relative_hypervolume([[1, 1]], [3, 3], [[2, 2]])


@pytest.mark.parametrize("m", [3, 6, 9])
def test_the_approximation_keeps_within_its_stated_error(m):
    points = random_points(generator("approximate", m), 25, m, "sphere")
    exact = engines.volume(points, np.zeros(m))
    estimate = approximate_volume(points, np.zeros(m))
    assert estimate.error > 0
    assert abs(estimate.value - exact) <= 2 * estimate.error  # a 95 % bound, doubled
    assert estimate.error < 0.02 * exact
    assert approximate_volume(points, np.zeros(m)) == estimate  # the same every time


def test_the_budget_decides_between_exact_and_approximate():
    points = random_points(generator("budget"), 20, 6, "sphere")
    assert hypervolume_estimate(points, 0).method == "exact"
    assert hypervolume_estimate(points, 0).error == 0.0
    labelled = hypervolume_estimate(points, 0, budget_s=-1.0)
    assert labelled.method.startswith("approximate")
    assert labelled.error > 0
    assert hypervolume_estimate([], 0).value == 0.0
    assert expected_seconds(10_000, 4) < 1 < expected_seconds(10_000, 7)


@pytest.fixture
def pygmo():
    if engines.pygmo() is None:
        pytest.skip("pygmo is not installed (extra `fast`): the second engine cannot be compared")
    return engines.pygmo()


@pytest.mark.parametrize("m", range(2, 9))
def test_pygmo_and_moocore_agree(pygmo, m, monkeypatch):
    rng = generator("pygmo", m)
    for kind in KINDS:
        points = random_points(rng, 30, m, kind)
        monkeypatch.setattr(engines, "pygmo", lambda: None)
        slow, slow_shares = engines.volume(points, np.zeros(m)), engines.contributions(points, np.zeros(m))
        monkeypatch.setattr(engines, "pygmo", lambda: pygmo)
        monkeypatch.setattr(engines, "VOLUME_CROSSOVER", dict.fromkeys(range(2, 32), 1))
        assert engines.volume(points, np.zeros(m)) == pytest.approx(slow, rel=1e-12, abs=1e-15)
        np.testing.assert_allclose(engines.contributions(points, np.zeros(m)), slow_shares, atol=1e-12 * max(slow, 1e-3))  # fmt: skip


def test_without_pygmo_everything_still_works(monkeypatch):
    monkeypatch.setattr(engines, "pygmo", lambda: None)
    monkeypatch.setattr(engines, "VOLUME_CROSSOVER", dict.fromkeys(range(2, 32), 1))
    points = random_points(generator("no pygmo"), 7, 6, "cube")
    assert engines.volume(points, np.zeros(6)) == pytest.approx(by_inclusion_exclusion(points, np.zeros(6)))
    assert expected_seconds(1000, 9) > 60  # so that a budget falls back to the approximation
