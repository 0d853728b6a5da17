"""What must hold for every set of points, whatever the numbers."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pareto.front import (
    INDICATORS,
    hypervolume,
    hypervolume_contributions,
    hypervolume_subset,
    hypervolume_with_mixtures,
    non_dominated,
    non_dominated_ranks,
)

pytestmark = pytest.mark.filterwarnings("ignore::pareto.front.OutsideReferenceWarning")
laws = settings(deadline=None, max_examples=80, derandomize=True, database=None)

# a coarse grid of numbers, so that ties, copies and degenerate sets come up all the time; exact in floating point
NUMBERS = st.integers(-8, 24).map(lambda k: k / 8)


@st.composite
def fronts(draw: st.DrawFn, m: int | None = None, most: int = 8) -> np.ndarray:
    m = m or draw(st.integers(1, 6))
    return draw(arrays(np.float64, (draw(st.integers(0, most)), m), elements=NUMBERS))


close = dict(rel=1e-9, abs=1e-12)


@laws
@given(fronts(), st.data())
def test_more_points_never_have_less(points, data):
    extra = data.draw(arrays(np.float64, (1, points.shape[1]), elements=NUMBERS))
    assert hypervolume(np.r_[points, extra], 0) >= hypervolume(points, 0) - 1e-12


@laws
@given(fronts(), st.data())
def test_raising_a_point_never_lowers_it(points, data):
    lift = data.draw(arrays(np.float64, points.shape, elements=st.integers(0, 8).map(lambda k: k / 8)))
    assert hypervolume(points + lift, 0) >= hypervolume(points, 0) - 1e-12


@laws
@given(fronts(), st.randoms(use_true_random=False))
def test_order_of_points_and_of_objectives_does_not_matter(points, random):
    rows, columns = list(range(len(points))), list(range(points.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    ref = np.linspace(-0.5, 0.25, points.shape[1])
    assert hypervolume(points[rows][:, columns], ref[columns]) == pytest.approx(
        hypervolume(points, ref), **close
    )


@laws
@given(fronts(), NUMBERS)
def test_moving_everything_changes_nothing(points, step):
    assert hypervolume(points + step, step) == pytest.approx(hypervolume(points, 0), **close)


@laws
@given(fronts(), st.data())
def test_stretching_an_objective_stretches_the_volume(points, data):
    factors = data.draw(
        arrays(np.float64, points.shape[1], elements=st.sampled_from([0.25, 0.5, 1.0, 3.0, 1000.0]))
    )
    expected = hypervolume(points, 0) * np.prod(factors)
    assert hypervolume(points * factors, 0) == pytest.approx(expected, **close)


@laws
@given(fronts())
def test_directions_are_mirrors(points):
    m = points.shape[1]
    turned = ["min" if j % 2 else "max" for j in range(m)]
    signs = np.array([-1.0 if d == "min" else 1.0 for d in turned])
    assert hypervolume(points * signs, 0, directions=turned) == hypervolume(points, 0)


@laws
@given(fronts(), st.data())
def test_a_union_has_at_most_the_sum_and_at_least_the_larger(points, data):
    others = data.draw(fronts(m=points.shape[1]))
    a, b, both = hypervolume(points, 0), hypervolume(others, 0), hypervolume(np.r_[points, others], 0)
    assert max(a, b) - 1e-9 <= both <= a + b + 1e-9


@laws
@given(fronts(m=3), fronts(m=3), st.data())
def test_a_point_adds_less_to_a_larger_set(points, others, data):
    extra = data.draw(arrays(np.float64, (1, 3), elements=NUMBERS))
    small = hypervolume(np.r_[points, extra], 0) - hypervolume(points, 0)
    large = hypervolume(np.r_[points, others, extra], 0) - hypervolume(np.r_[points, others], 0)
    assert large <= small + 1e-9


@laws
@given(fronts())
def test_copies_and_dominated_points_add_nothing(points):
    behind = np.r_[points, points, points - 0.125]
    assert hypervolume(behind, 0) == pytest.approx(hypervolume(points, 0), **close)
    assert hypervolume(points[non_dominated(points)], 0) == pytest.approx(hypervolume(points, 0), **close)


@laws
@given(fronts())
def test_contributions_are_shares_of_the_whole(points):
    shares = hypervolume_contributions(points, 0)
    whole = hypervolume(points, 0)
    assert shares.shape == (len(points),)
    assert (shares >= 0).all()
    assert shares.sum() <= whole + 1e-9
    for i in range(len(points)):
        assert shares[i] == pytest.approx(
            whole - hypervolume(np.delete(points, i, axis=0), 0), rel=1e-9, abs=1e-9
        )


@laws
@given(fronts())
def test_ranks_and_mask_agree(points):
    ranks = non_dominated_ranks(points)
    np.testing.assert_array_equal(ranks == 0, non_dominated(points))


@laws
@given(fronts(most=6))
def test_mixtures_add_and_never_take(points):
    if points.shape[1] > 4:
        return
    mixed, plain = hypervolume_with_mixtures(points, 0), hypervolume(points, 0)
    assert mixed >= plain * (1 - 1e-9) - 1e-12
    middle = points.mean(axis=0, keepdims=True) if len(points) else points
    again = hypervolume_with_mixtures(np.r_[points, middle], 0)
    assert again == pytest.approx(mixed, rel=1e-7, abs=1e-9)  # a mixture of mixtures is one already


@laws
@given(fronts(), st.integers(0, 9))
def test_greedy_subsets_keep_their_guarantee(points, k):
    chosen = hypervolume_subset(points, 0, k)
    assert len(set(chosen.tolist())) == min(k, len(points))
    if k >= 1 and len(points):
        best_one = max(hypervolume(points[i : i + 1], 0) for i in range(len(points)))
        assert hypervolume(points[chosen], 0) >= best_one - 1e-12


@settings(laws, max_examples=25)
@given(fronts(most=5), st.data())
def test_better_sets_read_better_by_every_compliant_indicator(points, data):
    m = points.shape[1]
    if m > 3 or not len(points):
        return
    truth = data.draw(arrays(np.float64, (3, m), elements=NUMBERS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (
            "hypervolume",
            "expected_utility",
            "igd_plus",
            "epsilon_additive",
            "maximum_utility_loss",
            "r2",
        ):
            made = INDICATORS.get(name)
            worse, better = (made(p, np.full(m, -2.0), truth) for p in (points - 0.25, points))
            gain = better - worse if made.better == "higher" else worse - better
            assert gain >= -1e-9, name
