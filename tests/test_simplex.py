"""Weights and directions: what is refused, lattices by hand and by counting."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest

from pareto import simplex
from pareto.errors import SimplexError


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.5, 0.6], "sum to 1"),
        ([1.5, -0.5], ">= 0.*direction"),
        ([0.5, np.nan], "finite"),
        ([np.inf, 0.0], "finite"),
        ([], "shape"),
        (1.0, "shape"),
        ([[[1.0]]], "shape"),
        ([[0.5, 0.5], [0.2, 0.2]], "row 1"),
    ],
)
def test_what_is_no_weight_vector_is_refused(weights, message):
    with pytest.raises(SimplexError, match=message):
        simplex.check(weights)


def test_weights_pass_unchanged_in_double_precision():
    w = np.array([1 / 3, 1 / 3, 1 / 3], dtype=np.float32)
    assert simplex.check(w).dtype == np.float64
    assert simplex.check([[0.0, 1.0], [0.25, 0.75]]).tolist() == [[0.0, 1.0], [0.25, 0.75]]


def test_directions_have_length_one_and_any_sign():
    assert simplex.check_direction([0.6, -0.8]).tolist() == [0.6, -0.8]
    for bad in ([0.5, 0.5], [np.nan, 1.0], [[1.0, 0.0], [1.0, 1.0]]):
        with pytest.raises(SimplexError, match="length 1"):
            simplex.check_direction(bad)


@pytest.mark.parametrize(("m", "total"), [(1, 4), (2, 5), (3, 4), (4, 3), (5, 2), (3, 0)])
def test_compositions_by_brute_force(m, total):
    want = [list(c) for c in product(range(total + 1), repeat=m) if sum(c) == total]
    assert simplex.compositions(total, m).tolist() == want  # product counts in lexicographic order


@pytest.mark.parametrize("m", [2, 3, 5])
def test_lattices_lie_on_the_simplex(m):
    lattice, centres = simplex.das_dennis(m, 4), simplex.cell_centres(m, 4)
    assert len(lattice) == len(centres) == comb(4 + m - 1, m - 1)
    for points in (lattice, centres):
        simplex.check(points)
        assert len(np.unique(points.round(9), axis=0)) == len(points)
    assert centres.min() > 0
    assert {tuple(c) for c in simplex.corners(m)} <= {tuple(p) for p in lattice}


def test_a_lattice_by_hand():
    assert simplex.das_dennis(2, 2).tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    np.testing.assert_allclose(simplex.cell_centres(2, 1), [[0.25, 0.75], [0.75, 0.25]])


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 6, 10, 11, 50])
def test_divisions_are_the_most_that_fit(m, n):
    h = simplex.divisions_for(m, n)
    assert h == 0 or comb(h + m - 1, m - 1) <= n
    assert comb(h + m, m - 1) > n


def test_one_objective_has_one_weight_vector():
    assert simplex.divisions_for(1, 10) == 0
    assert simplex.das_dennis(1, 3).tolist() == [[1.0]]


def test_samples_are_uniform_on_the_simplex():
    points = simplex.sample(3, 20_000, np.random.default_rng(0))
    simplex.check(points)
    np.testing.assert_allclose(points.mean(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(
        points.var(0), 2 / 36, atol=0.002
    )  # Dirichlet(1, 1, 1): (m - 1) / (m^2 (m + 1))


def test_affine_weights_may_be_negative_but_sum_to_one():
    assert simplex.check_affine([1.5, -0.5]).tolist() == [1.5, -0.5]
    for bad in ([1.5, -0.4], [np.nan, 1.0], [[1.0, 0.0]]):
        with pytest.raises(SimplexError, match="must be finite and sum to 1"):
            simplex.check_affine(bad)
