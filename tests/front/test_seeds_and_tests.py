"""Statistics across seeds: against their definitions and against scipy."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pareto.errors import ShapeError, UsageError
from pareto.front import (
    compare_methods,
    equal_kl,
    holm,
    hypervolume,
    hypervolume_within_kl,
    interquartile_mean,
    paired_bootstrap,
    probability_of_improvement,
    seed_interval,
    wilcoxon,
)
from pareto.rng import generator


@pytest.mark.parametrize("n", range(1, 14))
def test_interquartile_mean_is_scipys_trimmed_mean(n):
    figures = generator("iqm", n).normal(size=n)
    assert interquartile_mean(figures) == pytest.approx(stats.trim_mean(figures, 0.25))


def test_interquartile_mean_by_hand():
    assert interquartile_mean([1, 2, 3, 100]) == 2.5
    assert interquartile_mean([1, 2, 9]) == 4.0  # too few to leave any out
    assert interquartile_mean([[1, 2], [3, 100]]) == 2.5  # environments are pooled


def test_probability_of_improvement_counts_pairs():
    assert probability_of_improvement([1, 2, 3], [0, 1, 2]) == pytest.approx(7 / 9)
    assert probability_of_improvement([1, 1], [1, 1]) == 0.5
    rng = generator("poi")
    x, y = rng.normal(size=7), rng.normal(size=5) + 0.3
    expected = stats.mannwhitneyu(x, y).statistic / 35
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    # environments weigh the same however many seeds they have
    assert probability_of_improvement([[1.0, 1.0, 1.0], [0.0]], [[0.0], [1.0]]) == 0.5


def test_seeds_are_resampled_within_their_environment():
    # between environments everything differs, within them nothing: no resample can move the figure
    figures = [np.array([1.0, 1.0, 1.0]), np.array([5.0, 5.0])]
    interval = seed_interval(interquartile_mean, figures, resamples=200)
    assert interval.low == interval.value == interval.high
    wide = seed_interval(interquartile_mean, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert 1 <= wide.low < wide.value < wide.high <= 5
    assert wide.units == 5
    assert seed_interval(interquartile_mean, [1.0, 2.0, 4.0]) == seed_interval(
        interquartile_mean, [1.0, 2.0, 4.0]
    )
    two = seed_interval(probability_of_improvement, [3.0, 4.0, 5.0], [1.0, 2.0, 2.5])
    assert two.value == two.low == two.high == 1.0


def test_seed_intervals_cover():
    hits = 0
    for trial in range(150):
        sample = generator("seed coverage", trial).normal(size=30)
        interval = seed_interval(interquartile_mean, sample, seed=trial, resamples=200)
        hits += interval.low <= 0 <= interval.high
    assert hits >= 130  # 142.5 expected; fewer than 130 has a chance below 1e-5


@pytest.mark.parametrize("figures", [[], [[]], [1.0, np.nan], [[1.0], [np.inf]], 3.0])
def test_figures_must_be_there_and_finite(figures):
    with pytest.raises((ShapeError, UsageError, TypeError)):
        interquartile_mean(figures)
    with pytest.raises(ShapeError, match="same environments"):
        probability_of_improvement([[1.0], [2.0]], [1.0])


def signed_rank_p(steps: np.ndarray) -> float:
    """Two-sided p by writing out every assignment of signs."""
    ranks = stats.rankdata(np.abs(steps))
    observed = min(ranks[steps > 0].sum(), ranks[steps < 0].sum())
    sums = [
        sum(r for r, s in zip(ranks, signs) if s) for signs in itertools.product((0, 1), repeat=len(steps))
    ]
    total = ranks.sum()
    return float(np.mean([min(s, total - s) <= observed + 1e-9 for s in sums]))


@pytest.mark.parametrize("n", [3, 5, 8, 10])
def test_wilcoxon_counts_sign_assignments(n):
    rng = generator("wilcoxon", n)
    for _ in range(5):
        x, y = rng.normal(size=n), rng.normal(size=n) + 0.5
        assert wilcoxon(x, y) == pytest.approx(signed_rank_p(x - y))
    assert wilcoxon([1.0] * n, [1.0] * n) == 1.0
    assert wilcoxon(np.arange(n) + 1.0, np.zeros(n)) == pytest.approx(2.0 ** (1 - n))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert holm([]).shape == (0,)
    with pytest.raises(UsageError):
        holm([0.1, 1.5])
    with pytest.raises(UsageError):
        holm([np.nan])


def test_holm_rejects_exactly_what_the_step_down_procedure_rejects():
    rng = generator("holm")
    for _ in range(100):
        p = rng.random(6) ** 3
        rejected = set()
        for step, i in enumerate(np.argsort(p)):
            if p[i] > 0.05 / (6 - step):
                break
            rejected.add(int(i))
        assert {i for i, q in enumerate(holm(p)) if q <= 0.05} == rejected


def test_paired_bootstrap():
    rng = generator("paired")
    y = rng.normal(size=40)
    difference, low, high, p = paired_bootstrap(y + 1.0 + 0.1 * rng.normal(size=40), y)
    assert low < difference < high
    assert difference == pytest.approx(1.0, abs=0.1)
    assert high - low < 0.2  # pairs: the large common part drops out
    assert p == pytest.approx(1 / 10_001)
    assert paired_bootstrap(y, y) == (0.0, 0.0, 0.0, 1.0)
    same = [paired_bootstrap(rng.normal(size=30), rng.normal(size=30), resamples=400)[3] for _ in range(100)]
    assert np.mean(np.array(same) < 0.05) < 0.15  # where nothing differs, little is found


@pytest.mark.parametrize("pair", [([1, 2], [1, 2, 3]), ([], []), ([[1]], [[1]])])
def test_pairs_must_match(pair):
    with pytest.raises(ShapeError, match="paired by seed"):
        wilcoxon(*pair)
    with pytest.raises(ShapeError):
        paired_bootstrap(*pair)


def test_methods_are_compared_pair_by_pair():
    figures = {"a": np.arange(8) + 1.0, "b": np.arange(8.0), "c": np.arange(8) + 0.5}
    found = compare_methods(figures)
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0].difference == pytest.approx(1.0)
    np.testing.assert_allclose([c.p_holm for c in found], holm([c.p for c in found]))
    with pytest.raises(UsageError, match="finite"):
        compare_methods({"a": [1.0, np.nan], "b": [1.0, 2.0]})


def test_hypervolume_within_a_limit_counts_the_policies_that_keep_it():
    values, kl = np.array([[1.0, 1.0], [2.0, 0.5], [3.0, 3.0], [9.0, 9.0]]), [0.0, 1.0, 2.0, np.nan]
    found = hypervolume_within_kl(values, kl, 0, [-1, 0, 1, 2, 99])
    expected = [0, hypervolume(values[:1], 0), hypervolume(values[:2], 0), 9.0, 9.0]
    np.testing.assert_allclose(found, expected)
    with pytest.raises(ShapeError, match="need 4 KL values"):
        hypervolume_within_kl(values, [0.0], 0, [1])
    with pytest.raises(UsageError, match="negative"):
        hypervolume_within_kl(values, [0, 0, 0, -1], 0, [1])


def test_a_method_that_only_drifts_further_does_not_win_at_equal_kl():
    def policy(kl):  # both follow the same curve: value grows with the root of KL
        return np.sqrt(np.c_[kl, kl])

    near, far = np.linspace(0.2, 1.0, 9), np.linspace(0.2, 4.0, 39)
    outcome = equal_kl(policy(near), near, policy(far), far, 0)
    assert hypervolume(policy(far), 0) == pytest.approx(4 * hypervolume(policy(near), 0))
    assert outcome.common_limit_nats == 1.0
    assert outcome.ratio_at_common_limit == pytest.approx(1.0)
    assert outcome.ratio == pytest.approx(1.0)
    # and one that reaches twice as much for the same KL does
    better = equal_kl(2 * policy(near), near, policy(far), far, 0)
    assert better.ratio_at_common_limit == pytest.approx(4.0)
    assert better.ratio == pytest.approx(4.0)


def test_equal_kl_ratios_are_areas_under_steps():
    outcome = equal_kl([[1.0], [3.0]], [1.0, 2.0], [[2.0]], [3.0], 0.0)
    np.testing.assert_allclose(outcome.limits_nats, [0, 1, 2])
    np.testing.assert_allclose(outcome.first, [0, 1, 3])
    np.testing.assert_allclose(outcome.second, 0)
    assert np.isnan(outcome.ratio_at_common_limit)
    with pytest.raises(UsageError, match="at least one policy"):
        equal_kl([[1.0]], [np.nan], [[1.0]], [1.0], 0.0)
    with pytest.raises(ShapeError):
        equal_kl([[1.0]], [1.0], [[1.0, 2.0]], [1.0], [0.0])
