"""Intervals from finite units: exact cases, pairing, optimism, coverage of a known truth."""

import numpy as np
import pytest
from scipy import stats

from pareto.errors import ShapeError, UsageError
from pareto.front import hypervolume, hypervolume_interval, indicator_interval, mean_interval, sparsity
from pareto.front.intervals import WIDEN, _extrapolate, _few_units
from pareto.rng import generator


def noisy(rng: np.random.Generator, truth: np.ndarray, error: float, units: int, shared: float) -> np.ndarray:
    """[n, units, m] scores whose means have the given standard error, a share of its variance common to all policies."""
    n, m = truth.shape
    common, own = rng.normal(size=(1, units, m)), rng.normal(size=(n, units, m))
    return truth[:, None] + error * np.sqrt(units) * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)


ANGLE = np.linspace(0.1, np.pi / 2 - 0.1, 9)
ARC = np.c_[np.cos(ANGLE), np.sin(ANGLE)]


def test_mean_intervals_are_students():
    scores = generator("mean interval").normal(size=(3, 12, 2))
    low, high = mean_interval(scores)
    for k in range(3):
        for j in range(2):
            x = scores[k, :, j]
            ends = stats.t.interval(0.95, 11, loc=x.mean(), scale=stats.sem(x))
            assert (low[k, j], high[k, j]) == pytest.approx(ends)
    narrow = mean_interval(scores[0], level=0.5)
    assert (narrow[0] > low[0]).all()
    assert (narrow[1] < high[0]).all()


def test_mean_intervals_that_cannot_be_had_are_nan():
    assert np.isnan(mean_interval(np.ones((1, 2)))).all()
    low, high = mean_interval([[1.0, np.nan], [2.0, 1.0], [3.0, np.inf]])
    np.testing.assert_array_equal(np.isnan(low), [False, True])
    np.testing.assert_array_equal(np.isnan(high), [False, True])
    with pytest.raises(ShapeError):
        mean_interval([1.0, 2.0])
    with pytest.raises(ShapeError):
        mean_interval(np.zeros((0, 2)))


def test_scores_without_noise_have_no_width():
    interval = hypervolume_interval(np.repeat(ARC[:, None], 5, axis=1), [0, 0], resamples=50)
    assert interval.value == hypervolume(np.repeat(ARC[:, None], 5, axis=1).mean(axis=1), 0)
    assert interval.low <= interval.value <= interval.high
    assert interval.low == pytest.approx(interval.value, rel=1e-9)
    assert interval.high == pytest.approx(interval.value, rel=1e-9)
    assert interval.optimism == pytest.approx(0.0, abs=1e-9)


def test_a_single_policy_in_one_objective_has_the_interval_of_its_mean():
    # hypervolume = mean - 0: nothing to maximise over, so this is an ordinary bootstrap interval of a mean
    scores = 10 + generator("single").normal(size=(1, 60, 1))
    interval = hypervolume_interval(scores, [0.0], resamples=4000)
    low, high = mean_interval(scores[0])
    assert interval.value == pytest.approx(scores.mean())
    assert interval.low == pytest.approx(interval.value - WIDEN * (interval.value - low[0]), abs=0.04)
    assert interval.high == pytest.approx(interval.value + WIDEN * (high[0] - interval.value), abs=0.04)


def test_optimism_is_found_and_taken_off():
    rng = generator("optimism")
    truth = hypervolume(ARC, 0)
    intervals = [
        hypervolume_interval(noisy(rng, ARC, 0.1, 40, 0.0), [0, 0], seed=i, resamples=200) for i in range(40)
    ]
    read = np.mean([i.value for i in intervals])
    corrected = np.mean([i.value - i.optimism for i in intervals])
    assert read > 1.03 * truth  # the naive figure is too good
    assert abs(corrected - truth) < 0.75 * (read - truth)


def test_noise_is_extrapolated_back_to_none():
    # truth 5, rise 2 x helpings^a, read with 1, 2 and 3 helpings of noise
    for a in (0.5, 0.7, 1.0):
        read = [5 + 2 * k**a for k in (1, 2, 3)]
        assert read[0] - _extrapolate(*read) == pytest.approx(5.0, abs=0.05)
    assert _extrapolate(5.0, 4.9, 4.7) == pytest.approx(
        -0.1
    )  # a figure that falls with noise: the plain step


def test_the_largest_of_equals_is_corrected():
    # ten policies of the same value in one objective: the best reads far too high
    rng = generator("equals")
    intervals = [indicator_interval(noisy(rng, np.zeros((10, 1)), 1.0, 50, 0.0), np.max, seed=i, resamples=100) for i in range(60)]  # fmt: skip
    read = np.mean([i.value for i in intervals])
    corrected = np.mean([i.value - i.optimism for i in intervals])
    assert read == pytest.approx(1.54, abs=0.25)  # the mean of the largest of ten normal numbers
    assert abs(corrected) < 0.3 * read
    assert np.mean([i.low <= 0 <= i.high for i in intervals]) >= 0.85  # the interval has moved with it


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_truth_is_inside_as_often_as_stated(shared):
    rng = generator("coverage", shared)
    truth, hits = hypervolume(ARC, 0), 0
    for trial in range(100):
        interval = hypervolume_interval(noisy(rng, ARC, 0.05, 60, shared), [0, 0], seed=trial, resamples=100)
        hits += interval.low <= truth <= interval.high
    assert hits >= 87  # at 95 % fewer than 87 of 100 has a chance below 1e-3


def test_units_are_resampled_together():
    # two policies whose noise cancels: their sum is known exactly, and only paired resamples know it
    noise = generator("paired units").normal(size=50)
    scores = np.stack([1 + noise, 1 - noise])[:, :, None]
    interval = indicator_interval(scores, lambda v: float(v.sum()))
    assert interval.high - interval.low < 1e-9


def test_any_indicator_has_an_interval():
    interval = indicator_interval(noisy(generator("any"), ARC, 0.02, 30, 0.0), sparsity, resamples=60)
    assert interval.low <= interval.value <= interval.high
    assert interval.units == 30
    assert interval.resamples == 60


def test_policies_with_broken_scores_are_set_aside_and_named():
    scores = noisy(generator("broken"), ARC[:3], 0.01, 20, 0.0)
    clean = hypervolume_interval(scores, [0, 0], resamples=50)
    dirty = np.insert(scores, 1, 0.5, axis=0)
    dirty[1, 7, 1] = np.nan
    found = hypervolume_interval(dirty, [0, 0], resamples=50, ids=["a", "b", "c", "d"])
    assert found.quarantined == (("b", "nan in objective 1"),)
    assert (found.value, found.low, found.high) == (clean.value, clean.low, clean.high)
    nothing = hypervolume_interval(np.full((2, 5, 2), np.nan), [0, 0])
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    assert len(nothing.quarantined) == 2


def test_the_same_seed_gives_the_same_interval():
    scores = noisy(generator("seeded"), ARC, 0.05, 20, 0.0)
    first = hypervolume_interval(scores, [0, 0], seed=3, resamples=70)
    assert first == hypervolume_interval(scores, [0, 0], seed=3, resamples=70)
    assert first != hypervolume_interval(scores, [0, 0], seed=4, resamples=70)


def test_few_units_make_wide_intervals():
    # of four units Student's t needs 3.18 standard errors, and the bootstrap's own spread is short by sqrt(3/4)
    assert _few_units(4, 0.95) == pytest.approx(3.182 / 1.960 * np.sqrt(4 / 3), rel=1e-3)
    assert _few_units(4000, 0.95) == pytest.approx(1.0, abs=1e-3)
    one = hypervolume_interval(ARC[:, None], [0, 0])
    assert np.isnan(one.low)
    assert np.isnan(one.high)


@pytest.mark.parametrize(
    ("scores", "options", "error"),
    [
        (np.ones((2, 3)), {}, ShapeError),
        (np.ones((2, 0, 3)), {}, ShapeError),
        (np.ones((2, 3, 2)), {"ref_point": [0, 0, 0]}, ShapeError),
        (np.ones((2, 3, 2)), {"ref_point": [0, np.nan]}, UsageError),
        (np.ones((2, 3, 2)), {"level": 1.0}, UsageError),
        (np.ones((2, 3, 2)), {"resamples": 0}, UsageError),
        (np.ones((2, 3, 2)), {"ids": ["a"]}, ShapeError),
    ],
)
def test_bad_input(scores, options, error):
    with pytest.raises(error):
        hypervolume_interval(scores, **{"ref_point": [0, 0], **options})
