"""Every indicator against its definition, written out by loops, on more than a thousand random fronts each."""

import itertools
import math

import numpy as np
import pytest

from pareto.errors import ShapeError, SimplexError, UnknownNameError, UsageError
from pareto.front import (
    INDICATORS,
    cardinality,
    chebyshev_utilities,
    epsilon_additive,
    epsilon_multiplicative,
    expected_utility,
    expected_utility_estimate,
    igd,
    igd_plus,
    indicators,
    linear_utilities,
    maximum_utility_loss,
    r2,
    spacing,
    sparsity,
)
from pareto.front.quadrature import simplex_mean, simplex_points
from pareto.rng import generator
from pareto.simplex import sample
from tests.front.brute import KINDS, random_points
from tests.front.brute import non_dominated as brute_mask

pytestmark = pytest.mark.filterwarnings("ignore::pareto.front.OutsideReferenceWarning")


def pairs(name: str, m: int, count: int, low: float = -np.inf):
    """(points, reference front) of every shape; `low` keeps them above a bound."""
    rng = generator("pairs", name, m)
    for i in range(count):
        points = random_points(rng, int(rng.integers(1, 9)), m, KINDS[i % len(KINDS)])
        front = random_points(rng, int(rng.integers(1, 9)), m, KINDS[(i // 2) % len(KINDS)])
        yield np.maximum(points, low), np.maximum(front, low)


@pytest.mark.parametrize("m", range(1, 10))
def test_distances_and_epsilons_follow_their_definitions(m):
    for points, front in pairs("distances", m, 120):
        gaps = [[r - a for a in points] for r in front]
        expected = np.mean([min(math.sqrt((g**2).sum()) for g in row) for row in gaps])
        assert igd(points, reference_front=front) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        expected = np.mean([min(math.sqrt((np.maximum(g, 0) ** 2).sum()) for g in row) for row in gaps])
        assert igd_plus(points, reference_front=front) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        expected = max(min(g.max() for g in row) for row in gaps)
        assert epsilon_additive(points, reference_front=front) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("m", range(1, 10))
def test_multiplicative_epsilon_follows_its_definition(m):
    for points, front in pairs("epsilon", m, 120, low=0.05):
        expected = max(min((r / a).max() for a in points) for r in front)
        assert epsilon_multiplicative(points, reference_front=front) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(UsageError, match="every oriented value > 0"):
        epsilon_multiplicative(-np.ones((1, m)), reference_front=np.ones((1, m)))


@pytest.mark.parametrize("m", range(1, 10))
def test_counts_and_gaps_follow_their_definitions(m):
    for points, _ in pairs("gaps", m, 120):
        front = sorted({tuple(p) for p, good in zip(points, brute_mask(points)) if good})
        assert cardinality(points) == len(front)
        columns = [sorted(c) for c in zip(*front)]
        gaps = sum((b - a) ** 2 for c in columns for a, b in itertools.pairwise(c))
        assert sparsity(points) == pytest.approx(gaps / max(1, len(front) - 1), rel=1e-9, abs=1e-15)
        nearest = [
            min(sum(abs(x - y) for x, y in zip(p, q)) for q in front if q != p)
            for p in front
            if len(front) > 2
        ]
        spread = 0.0
        if nearest:
            mean = sum(nearest) / len(nearest)
            spread = math.sqrt(sum((d - mean) ** 2 for d in nearest) / (len(nearest) - 1))
        assert spacing(points) == pytest.approx(spread, rel=1e-9, abs=1e-12)


def simplex_grid(m: int, cells: int) -> np.ndarray:
    """Centres of a fine, equal division of the segment or triangle of weights."""
    if m == 2:
        w = (np.arange(cells) + 0.5) / cells
        return np.c_[w, 1 - w]
    i, j = np.meshgrid(np.arange(cells), np.arange(cells), indexing="ij")
    up = np.stack([i + 1 / 3, j + 1 / 3], -1)[i + j < cells]
    down = np.stack([i + 2 / 3, j + 2 / 3], -1)[i + j < cells - 1]
    w = np.concatenate([up, down]) / cells
    return np.c_[w, 1 - w.sum(axis=1)]


@pytest.mark.parametrize(("m", "cells", "tolerance"), [(2, 20_000, 1e-7), (3, 150, 1e-4)])
def test_expected_utility_is_exact_up_to_three_objectives(m, cells, tolerance):
    grid = simplex_grid(m, cells)
    for points, _ in pairs("utility", m, 60):
        estimate = expected_utility_estimate(points)
        assert estimate.error == 0.0
        assert estimate.value == pytest.approx((grid @ points.T).max(axis=1).mean(), abs=tolerance)


def test_expected_utility_in_closed_form():
    assert expected_utility([[1, 0], [0, 1]]) == pytest.approx(0.75, rel=1e-15)  # E max(w, 1 - w)
    assert expected_utility([[4.0], [3.0]]) == 4.0
    # E max of uniform weights on the m-simplex: (1 + 1/2 + ... + 1/m) / m
    for m in range(2, 8):
        estimate = expected_utility_estimate(np.eye(m))
        harmonic = sum(1 / k for k in range(1, m + 1)) / m
        assert abs(estimate.value - harmonic) <= max(3 * estimate.error, 1e-12)
        assert estimate.error < 1e-3
    # a straight front is worth its ends; a hundred points of it change nothing
    line = np.c_[np.linspace(0, 1, 100), 1 - np.linspace(0, 1, 100)]
    assert expected_utility(line) == pytest.approx(0.75, rel=1e-12)
    assert expected_utility(np.r_[np.eye(3), np.full((1, 3), 1 / 3)]) == pytest.approx(11 / 18, rel=1e-12)


def test_users_of_ones_own():
    points = np.array([[3.0, 1.0], [1.0, 3.0]])
    assert expected_utility(points, utilities=[[1, 0], [0, 1], [0.5, 0.5]]) == pytest.approx(8 / 3)
    assert expected_utility(points, utilities=lambda v: -v.T) == -1.0
    weights = np.array([[0.5, 0.5], [0.9, 0.1]])
    np.testing.assert_allclose(linear_utilities(weights)(points), weights @ points.T)
    users = chebyshev_utilities(weights, [4.0, 4.0], rho=0.1)(points)
    for k, w in enumerate(weights):
        for i, v in enumerate(points):
            gain = w * (v - 4.0)
            assert users[k, i] == pytest.approx(gain.min() + 0.1 * gain.sum())
    with pytest.raises(SimplexError):
        linear_utilities([[2.0, 0.0]])
    with pytest.raises(ShapeError):
        chebyshev_utilities([[0.5, 0.5]], [0.0, 0.0, 0.0])


@pytest.mark.parametrize("m", range(1, 7))
def test_maximum_utility_loss_is_the_worst_users(m):
    weights = np.r_[np.eye(m), sample(m, 4000, generator("loss weights", m))] if m > 1 else np.ones((1, 1))
    worst_gap = 0.0
    for points, front in pairs("loss", m, 12):
        sampled = ((weights @ front.T).max(axis=1) - (weights @ points.T).max(axis=1)).max()
        exact = maximum_utility_loss(points, reference_front=front)
        assert exact >= sampled - 1e-9  # no user fares worse than the worst
        worst_gap = max(worst_gap, exact - sampled)
        assert maximum_utility_loss(points, reference_front=front, utilities=weights) == pytest.approx(
            sampled
        )
    assert worst_gap < (0.02 if m <= 3 else 0.25)  # and thousands of users come close to it


def test_maximum_utility_loss_in_closed_form():
    ends = [[1, 0], [0, 1]]
    assert maximum_utility_loss(ends, reference_front=[[0.8, 0.8]]) == pytest.approx(0.3)  # the even user
    assert maximum_utility_loss(ends, reference_front=[[0.5, 0.5]]) == pytest.approx(0.0, abs=1e-12)
    assert maximum_utility_loss([[2, 2]], reference_front=ends) == pytest.approx(-1.0)
    assert maximum_utility_loss([[0, 0]], reference_front=[[1e6, 0], [0, 1]]) == pytest.approx(1e6)
    # the loss is never more than what a single point must be given to cover the front
    for points, front in pairs("bound", 3, 40):
        assert maximum_utility_loss(points, reference_front=front) <= epsilon_additive(points, reference_front=front) + 1e-9  # fmt: skip


@pytest.mark.parametrize("m", range(1, 6))
def test_r2_is_the_mean_chebyshev_loss_to_the_ideal(m):
    weights = sample(m, 400, generator("r2", m)) if m > 1 else np.ones((1, 1))
    for points, front in pairs("r2", m, 12):
        ideal = front.max(axis=0)
        losses = [min(max(w[j] * (ideal[j] - a[j]) for j in range(m)) for a in points) for w in weights[:300]]
        given = r2(points, reference_front=front, utilities=chebyshev_utilities(weights[:300], ideal))
        assert given == pytest.approx(np.mean(losses), rel=1e-9, abs=1e-12)
        spread = np.std(losses) / np.sqrt(300)
        assert r2(points, reference_front=front) == pytest.approx(np.mean(losses), abs=5 * spread + 1e-9)


def test_r2_in_closed_form():
    # one point, one short of the ideal in both: E max(w, 1 - w) = 3/4
    assert r2([[0, 0]], reference_front=[[1, 1]]) == pytest.approx(0.75, rel=1e-9)
    assert r2([[1, 1]], reference_front=[[1, 0], [0, 1]]) == pytest.approx(0.0, abs=1e-12)


def test_points_on_the_simplex_are_uniform_and_their_mean_has_an_honest_error():
    w = simplex_points(4, 2000, np.array([0.1, 0.2, 0.3]))
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(axis=1), 1.0)
    np.testing.assert_allclose(w.mean(axis=0), 0.25, atol=2e-3)
    for m in (2, 4, 7):  # E w_0^2 = 2 / (m (m + 1)) for uniform weights
        estimate = simplex_mean(lambda w: w[:, 0] ** 2, m)
        assert abs(estimate.value - 2 / (m * (m + 1))) <= 2 * estimate.error
        assert estimate.error < 1e-4


def test_all_at_once_agree_with_one_by_one():
    for m in (1, 2, 3, 5):
        for points, front in pairs("all", m, 3, low=0.05):
            figures = indicators(points, 0.0, front)
            for name in INDICATORS.names():
                assert figures[name] == pytest.approx(INDICATORS.get(name)(points, 0.0, front), rel=1e-12), (
                    name
                )
            assert all(isinstance(v, float) and math.isfinite(v) for v in figures.values())


def test_what_is_not_asked_or_not_defined_is_left_out():
    assert not {"hypervolume", "igd", "outside_ref_point"} & set(indicators([[1, 2]]))
    assert "epsilon_multiplicative" not in indicators([[-1, 2]], reference_front=[[1, 2]])
    assert set(indicators([[1, 2]], 0, names=["sparsity"])) == {
        "n",
        "quarantined",
        "outside_ref_point",
        "sparsity",
    }
    with pytest.raises(UnknownNameError, match="did you mean 'sparsity'"):
        indicators([[1, 2]], names=["sparsty"])


def test_figures_past_the_budget_are_approximate_and_say_so():
    points = random_points(generator("past"), 25, 6, "sphere")
    figures = indicators(points, 0, budget_s=-1.0, names=["hypervolume", "hypervolume_with_mixtures"])
    assert figures["hypervolume_error"] > 0
    assert figures["hypervolume"] == pytest.approx(
        indicators(points, 0, names=["hypervolume"])["hypervolume"], rel=0.02
    )
    assert "hypervolume_with_mixtures" not in figures  # there is no approximate one
    assert indicators(points, names=["expected_utility"])["expected_utility_error"] > 0


def test_directions_turn_everything_alike():
    points, front = next(iter(pairs("turn", 2, 1, low=0.05)))
    signs = np.array([1.0, -1.0])
    turned = indicators(points * signs, [0.0, -0.0], front * signs, directions=["max", "min"])
    assert turned == pytest.approx(indicators(points, 0.0, front), rel=1e-12)


def test_every_indicator_says_what_is_better_and_where_it_comes_from():
    for entry in INDICATORS:
        assert entry.value.better in ("higher", "lower", "neither")
        assert entry.source
        assert entry.summary
        assert entry.name in repr(entry.value)
