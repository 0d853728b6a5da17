"""Weights: on the simplex, corners first, no doubles, as many as asked for at most."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from pareto.errors import ConfigError, SimplexError
from pareto.objectives import Objectives
from pareto.simplex import check
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, with_corners


def weights(m: int, **config: object) -> np.ndarray:
    made = WeightsConfig.model_validate(config)
    return WEIGHTS.get(made.kind)(Objectives([f"o{i}" for i in range(m)]), made)


@pytest.mark.parametrize("kind", ["cells", "das_dennis", "random"])
@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("corners", [True, False])
def test_on_the_simplex_without_doubles(kind: str, m: int, corners: bool) -> None:
    rows = weights(m, kind=kind, n=20, corners=corners)
    check(rows)
    assert len(np.unique(rows.round(9), axis=0)) == len(rows) <= 20
    if corners:
        assert np.array_equal(rows[:m], np.eye(m))


def test_cells_for_two_objectives_are_equally_spaced_centres() -> None:
    rows = weights(2, n=7)
    # 5 cells of width 1/5 on the unit interval: centres .1, .3, .5, .7, .9
    assert rows[2:, 0] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert (rows[2:] > 0).all()


def test_cells_centres_are_centroids_of_the_lattice_cells() -> None:
    """Brute force for m = 3: the upward triangles of the lattice with H + 1 divisions have these centroids."""
    divisions, m = 3, 3
    rows = weights(m, divisions=divisions, corners=False)
    step = 1 / (divisions + 1)
    centroids = [
        np.mean([(np.array([i, j, divisions - i - j]) + np.eye(m)[k]) * step for k in range(m)], axis=0)
        for i in range(divisions + 1)
        for j in range(divisions + 1 - i)
    ]
    assert np.allclose(rows, centroids)


@pytest.mark.parametrize(("m", "divisions"), [(2, 1), (2, 9), (3, 5), (4, 3)])
def test_das_dennis_counts(m: int, divisions: int) -> None:
    assert len(weights(m, kind="das_dennis", divisions=divisions)) == comb(divisions + m - 1, m - 1)
    inner = weights(m, divisions=divisions, corners=False)
    assert len(inner) == comb(divisions + m - 1, m - 1)
    assert (inner > 0).all()


def test_more_random_weights_keep_the_first() -> None:
    few, many = weights(3, kind="random", n=5, seed=4), weights(3, kind="random", n=9, seed=4)
    assert np.array_equal(many[:5], few)
    assert not np.array_equal(weights(3, kind="random", n=5, seed=5), few)


def test_list_is_taken_as_written() -> None:
    listed = [{"o1": 0.7, "o0": 0.3}, {"o0": 1.0, "o1": 0.0}]
    assert weights(2, kind="list", list=tuple(listed)).tolist() == [[0.3, 0.7], [1.0, 0.0]]
    with pytest.raises(ConfigError, match=r"weights.list\[1\].*sum to 1"):
        weights(2, kind="list", list=(listed[0], {"o0": 0.5, "o1": 0.6}))


def test_corners_alone() -> None:
    assert np.array_equal(weights(3, n=3), np.eye(3))


@pytest.mark.parametrize(
    "config", [{"n": 2}, {"kind": "das_dennis", "n": 2}, {"kind": "random"}, {"kind": "random", "n": 3}]
)
def test_sizes_that_cannot_be(config: dict) -> None:
    with pytest.raises(ConfigError, match="weights"):
        weights(3, **config)


def test_doubles_go_but_order_stays() -> None:
    rows = np.array([[0.5, 0.5], [1.0, 0.0], [0.5, 0.5 + 1e-15]])
    assert with_corners(rows, corners=True).tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    with pytest.raises(SimplexError):
        check([[0.5, 0.6]])


def test_directions_of_two_objectives_are_angles_from_minus_45_to_135() -> None:
    """Seven without corners: -45, -15, ..., 135 degrees; with corners the two axes first and none twice."""
    rows = weights(2, kind="directions", n=7, corners=False)
    angles = np.degrees(np.arctan2(rows[:, 1], rows[:, 0]))
    assert angles.tolist() == pytest.approx([-45, -15, 15, 45, 75, 105, 135])
    for n in (6, 9, 21):
        rows = weights(2, kind="directions", n=n)
        assert rows[:2].tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert len(rows) == n
        assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)
        assert [-(2**-0.5), 2**-0.5] in [pytest.approx(row.tolist()) for row in rows]


def test_directions_of_more_objectives_are_drawn_from_the_half_that_wants_more() -> None:
    rows = weights(3, kind="directions", n=40, seed=3)
    assert rows.shape == (40, 3)
    assert rows[:3].tolist() == np.eye(3).tolist()
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)
    assert (rows.sum(1) >= -1e-12).all()


def test_a_list_may_hold_directions() -> None:
    listed = ({"o0": 0.6, "o1": -0.8}, {"o0": 0.5, "o1": 0.5})
    assert weights(2, kind="list", list=listed).tolist() == [[0.6, -0.8], [0.5, 0.5]]
