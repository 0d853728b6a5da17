"""Attainment: counted run by run on a grid, and against the second implementation in moocore."""

import moocore
import numpy as np
import pytest

from pareto.errors import ShapeError, UsageError
from pareto.front import attainment_difference, attainment_surfaces
from pareto.rng import generator


def runs(rng: np.random.Generator, count: int, m: int) -> list[np.ndarray]:
    return [rng.integers(0, 6, size=(int(rng.integers(0, 5)), m)).astype(float) for _ in range(count)]


def grid(m: int) -> np.ndarray:
    return np.stack(np.meshgrid(*[np.arange(-0.5, 6.5, 0.5)] * m, indexing="ij"), -1).reshape(-1, m)


def attains(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if not len(points):
        return np.zeros(len(targets), dtype=bool)
    return (points[None] >= targets[:, None]).all(-1).any(1)


@pytest.mark.parametrize("m", [2, 3])
def test_surfaces_are_attained_by_as_many_runs_as_they_say(m):
    rng = generator("surfaces", m)
    targets = grid(m)
    for count in (1, 2, 3, 4, 5, 7):
        fronts = runs(rng, count, m)
        if not any(len(f) for f in fronts):
            continue
        reached = sum(attains(f, targets).astype(int) for f in fronts)
        for level, surface in attainment_surfaces(fronts, levels=[0.01, 0.25, 1 / 3, 0.5, 0.75, 1.0]).items():
            np.testing.assert_array_equal(attains(surface, targets), reached >= np.ceil(level * count - 1e-9))


def test_runs_without_points_count_as_runs():
    surfaces = attainment_surfaces([[[1.0, 1.0]], np.zeros((0, 2))], levels=[0.5, 1.0])
    np.testing.assert_array_equal(surfaces[0.5], [[1, 1]])
    assert surfaces[1.0].shape == (0, 2)


def test_surfaces_come_back_in_the_objectives_own_directions():
    surface = attainment_surfaces([[[1.0, 5.0]], [[2.0, 7.0]]], levels=[1.0], directions=["max", "min"])[1.0]
    np.testing.assert_array_equal(surface, [[1, 7]])


def test_differences_are_counted_on_a_grid():
    rng = generator("differences")
    targets = grid(2)
    for _ in range(30):
        first, second = runs(rng, int(rng.integers(1, 6)), 2), runs(rng, int(rng.integers(1, 6)), 2)
        if not any(len(f) for f in [*first, *second]):
            continue
        expected = np.mean([attains(f, targets) for f in first], 0) - np.mean(
            [attains(f, targets) for f in second], 0
        )
        found = np.zeros(len(targets))
        for low0, low1, high0, high1, level in attainment_difference(first, second):
            inside = (targets > [low0, low1]).all(1) & (targets <= [high0, high1]).all(1)
            assert (found[inside] == 0).all()  # rectangles do not overlap
            found[inside] = level
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_differences_agree_with_moocore():
    rng = generator("differences moocore")
    first, second = ([rng.random((4, 2)) for _ in range(4)] for _ in range(2))
    flat = [np.c_[-np.concatenate(r), np.repeat(np.arange(4), 4)] for r in (first, second)]
    theirs = moocore.eafdiff(*flat, rectangles=True)
    targets = rng.random((2000, 2))
    level = np.zeros(2000)
    for low0, low1, high0, high1, difference in theirs:
        level[(-targets >= [low0, low1]).all(1) & (-targets < [high0, high1]).all(1)] = difference
    ours = np.zeros(2000)
    for low0, low1, high0, high1, difference in attainment_difference(first, second):
        ours[(targets > [low0, low1]).all(1) & (targets <= [high0, high1]).all(1)] = difference * 4
    np.testing.assert_allclose(ours, level, atol=1e-9)


def test_bad_input():
    with pytest.raises(UsageError, match="at least one run"):
        attainment_surfaces([])
    with pytest.raises(UsageError, match="levels"):
        attainment_surfaces([[[1, 2]]], levels=[0.0])
    with pytest.raises(ShapeError, match="m = 2 or m = 3"):
        attainment_surfaces([np.ones((1, 4))])
    with pytest.raises(ShapeError, match="m = 2 or m = 3"):
        attainment_surfaces([np.ones((1, 2)), np.ones((1, 3))])
    with pytest.raises(ShapeError, match="need m = 2"):
        attainment_difference([np.ones((1, 3))], [np.ones((1, 3))])
