"""What mixtures dominate: closed forms, and a share of random points decided one by one by linear programming."""

import numpy as np
import pytest
from scipy.optimize import linprog

from pareto.front import hypervolume, hypervolume_with_mixtures
from pareto.rng import generator
from tests.front.brute import KINDS, random_points

pytestmark = pytest.mark.filterwarnings("ignore::pareto.front.OutsideReferenceWarning")


def test_closed_forms():
    assert hypervolume_with_mixtures([[3, 1], [1, 3]], [0, 0]) == pytest.approx(7.0)  # a pentagon
    assert hypervolume_with_mixtures([[3, 1], [2, 2], [1, 3]], [0, 0]) == pytest.approx(7.0)
    assert (
        hypervolume_with_mixtures([[1, -1], [-1, 1]], [0, 0]) == 0.0
    )  # mixtures only touch the reference point
    assert hypervolume_with_mixtures([[2, -1], [-1, 2]], [0, 0]) == pytest.approx(
        0.5
    )  # both outside, mixtures not
    assert hypervolume_with_mixtures([[5.0], [4.0]], [2.0]) == 3.0
    for m in range(2, 6):  # unit vectors: the simplex, 1/m!
        expected = 1 / np.prod(np.arange(1, m + 1))
        assert hypervolume_with_mixtures(np.eye(m), 0) == pytest.approx(expected, rel=1e-9)
        assert hypervolume_with_mixtures(np.ones((1, m)) * 2, 0) == pytest.approx(2.0**m, rel=1e-9)


def covered(points: np.ndarray, target: np.ndarray) -> bool:
    """Whether some mixture reaches the target in every objective."""
    n, m = points.shape
    solved = linprog(
        np.r_[np.zeros(n), -1.0],
        A_ub=np.c_[-points.T, np.ones(m)],
        b_ub=-target,
        A_eq=np.r_[np.ones(n), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * n + [(None, None)],
    )
    return -solved.fun >= 0


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_random_points_are_covered_as_often_as_the_volume_says(m):
    rng = generator("mixtures", m)
    for trial in range(len(KINDS)):
        points = random_points(rng, int(rng.integers(2, 10)), m, KINDS[trial])
        ref = np.full(m, [-0.1, 0.2, 0.5][trial % 3])
        top = points.max(axis=0)
        found = hypervolume_with_mixtures(points, ref)
        if (top <= ref).any():
            assert found == 0.0
            continue
        box = np.prod(top - ref)
        targets = ref + rng.random((100, m)) * (top - ref)
        share = np.mean([covered(points, t) for t in targets])
        assert found / box == pytest.approx(share, abs=4 * np.sqrt(max(share * (1 - share), 0.01) / 100))
        assert found >= hypervolume(points, ref) * (1 - 1e-9)


def test_many_points_outside_are_cut_without_losing_any():
    points = random_points(generator("cut"), 250, 3, "sphere")
    inside = hypervolume_with_mixtures(points, 0.3)
    # the same region from a lower reference point, measured by another way: Monte Carlo over supporting planes
    rng = generator("cut check")
    targets = 0.3 + 0.7 * rng.random((20_000, 3))
    from scipy.spatial import ConvexHull

    planes = ConvexHull(np.concatenate([points * mask for mask in np.ndindex(2, 2, 2)])).equations
    share = (targets @ planes[:, :3].T + planes[:, 3] <= 1e-12).all(axis=1).mean()
    assert inside / 0.7**3 == pytest.approx(share, abs=4 * np.sqrt(share / 20_000))
