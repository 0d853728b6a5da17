"""Subsets, knees, trade-off rates, pseudo-weights and reference points."""

import itertools

import numpy as np
import pytest

from pareto.errors import UsageError
from pareto.front import (
    QuarantineWarning,
    hypervolume,
    hypervolume_subset,
    knee_prices,
    knee_scores,
    nadir_reference,
    pseudo_weights,
    trade_off_rates,
)
from pareto.rng import generator
from tests.front.brute import KINDS, by_inclusion_exclusion, random_points

pytestmark = pytest.mark.filterwarnings("ignore::pareto.front.OutsideReferenceWarning")


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_greedy_choice_is_the_plain_greedy_choice(m):
    rng = generator("subset", m)
    for kind in KINDS:
        points = random_points(rng, 8, m, kind)
        chosen = hypervolume_subset(points, 0, 5).tolist()
        plain: list[int] = []
        for _ in range(5):
            gains = [
                -1.0 if i in plain else by_inclusion_exclusion(points[[*plain, i]], np.zeros(m))
                for i in range(8)
            ]
            plain.append(int(np.argmax(gains)))
        ours, theirs = (hypervolume(points[c], 0) for c in (chosen, plain))
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_greedy_choice_keeps_its_share_of_the_best_subset():
    points = random_points(generator("share"), 10, 3, "sphere")
    best = max(hypervolume(points[list(c)], 0) for c in itertools.combinations(range(10), 4))
    assert hypervolume(points[hypervolume_subset(points, 0, 4)], 0) >= (1 - 1 / np.e) * best


def test_subset_sizes_and_rows():
    points = np.array([[1.0, 1.0], [np.nan, 5.0], [2.0, 2.0]])
    with pytest.warns(UserWarning, match="1 of 3 points"):
        np.testing.assert_array_equal(hypervolume_subset(points, 0, 9), [2, 0])
    assert len(hypervolume_subset([[1.0, 2.0]], 0, 0)) == 0
    with pytest.raises(UsageError, match="k must be"):
        hypervolume_subset([[1.0, 2.0]], 0, -1)


def test_the_knee_is_where_the_front_bends_most():
    front = np.array([[0.0, 1.0], [0.5, 0.9], [0.9, 0.8], [1.0, 0.0], [0.1, 0.1]])
    scores = knee_scores(front)
    assert np.nanargmax(scores) == 2
    assert scores[2] == pytest.approx(0.7 / np.sqrt(2))
    assert scores[0] == pytest.approx(0.0)
    assert np.isnan(scores[4])
    prices = knee_prices(front)
    assert np.nanargmax(prices) == 2
    assert prices[2] == pytest.approx(min(0.4 / 0.1, 0.9 / 0.2, 0.8 / 0.1))
    assert np.isnan(prices[4])
    # units do not matter
    np.testing.assert_allclose(knee_scores(front * [1000, 0.01] + 5), scores, atol=1e-9)
    np.testing.assert_allclose(knee_prices(front * [1000, 0.01] + 5), prices, rtol=1e-9)


def test_knees_of_degenerate_fronts():
    assert knee_scores([[1.0, 2.0]]).tolist() == [0.0]
    assert knee_prices([[1.0, 2.0]]).tolist() == [np.inf]
    straight = np.c_[np.linspace(0, 1, 5), 1 - np.linspace(0, 1, 5)]
    np.testing.assert_allclose(knee_scores(straight), 0, atol=1e-12)
    np.testing.assert_allclose(knee_prices(straight), 1, atol=1e-12)
    assert np.isfinite(knee_scores(np.eye(4) + 0.1)).all()


def test_trade_off_rates_are_prices_between_neighbours():
    rates = trade_off_rates([[3, 1], [1, 4], [2, 3], [0, 0]])
    assert [(t.a, t.b) for t in rates] == [(0, 2), (1, 2)]
    first = rates[0].rates  # from (3, 1) to (2, 3): one of objective 0 buys two of objective 1
    assert first[0, 1] == pytest.approx(2.0)
    assert first[1, 0] == pytest.approx(0.5)
    assert np.isnan(first[0, 0])


@pytest.mark.parametrize("n", [2, 3, 10])
def test_neighbours_on_a_two_objective_front_are_the_consecutive_points(n):
    angle = np.sort(generator("neighbours", n).random(n)) * np.pi / 2
    found = [(t.a, t.b) for t in trade_off_rates(np.c_[np.cos(angle), np.sin(angle)])]
    assert found == [(i, i + 1) for i in range(n - 1)]


def test_rates_on_a_smooth_front_are_ratios_of_weights():
    # the quarter circle is best for weights (cos, sin) at angle t: between neighbours the rate is near w0 / w1
    angle = np.linspace(0.2, 1.3, 400)
    for pair in trade_off_rates(np.c_[np.cos(angle), np.sin(angle)]):
        middle = (angle[pair.a] + angle[pair.b]) / 2
        assert pair.rates[0, 1] == pytest.approx(np.cos(middle) / np.sin(middle), rel=1e-5)


def test_rates_where_nothing_changes_are_nan():
    (pair,) = trade_off_rates([[1, 2, 5], [2, 1, 5]])
    assert np.isnan(pair.rates[2]).all()
    assert pair.rates[0, 2] == 0.0


def test_pseudo_weights():
    weights = pseudo_weights([[1, 0], [0, 1], [0.5, 0.5], [0.75, 0.25]])
    np.testing.assert_allclose(weights, [[1, 0], [0, 1], [0.5, 0.5], [0.75, 0.25]])
    np.testing.assert_allclose(pseudo_weights([[2, 2]]), [[0.5, 0.5]])
    np.testing.assert_allclose(
        pseudo_weights([[2, 7], [4, 5]], directions=["max", "min"]), [[0.5, 0.5], [0.5, 0.5]]
    )
    for kind in KINDS:
        found = pseudo_weights(random_points(generator("pseudo", kind), 12, 3, kind))
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        assert (found >= 0).all()


def test_the_reference_point_lies_a_tenth_of_the_range_below_the_worst_corner():
    np.testing.assert_allclose(nadir_reference([[1, 0], [0, 2]]), [-0.1, -0.2])
    np.testing.assert_allclose(nadir_reference([[1, 0], [0, 2]], margin=0.5), [-0.5, -1.0])
    np.testing.assert_allclose(nadir_reference([[1, 10], [0, 20]], directions=["max", "min"]), [-0.1, 21.0])
    np.testing.assert_allclose(
        nadir_reference([[5, 0], [5, 0]]), [4.5, -0.1]
    )  # no range: the value's own size
    with pytest.raises(UsageError, match="margin"):
        nadir_reference([[1, 0]], margin=0.0)
    with pytest.raises(UsageError, match="at least one corner"), pytest.warns(QuarantineWarning):
        nadir_reference([[np.nan, 0]])
