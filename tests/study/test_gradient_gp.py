"""The process whose gradient the values are: against differences of its kernel, and against fronts in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from pareto import simplex
from pareto.rng import generator
from pareto.study.weights.gradient_gp import GradientGP, gradient_kernel

M = 3


def front(weights: np.ndarray, beta: float = 0.5) -> np.ndarray:
    """[n, 3] values of the best policies of a bandit with a KL penalty: the gradient of a log-sum-exp."""
    rewards = generator("test", "gradient").normal(size=(40, M))
    z = weights @ rewards.T / beta
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p @ rewards / p.sum(axis=1, keepdims=True)


def test_the_kernel_is_the_second_derivative_of_the_plain_one() -> None:
    draw = generator("test", "kernel")
    one, other, length, step = draw.normal(size=(4, M)), draw.normal(size=(2, M)), 0.8, 1e-4

    def plain(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.exp(-((x - y) ** 2).sum() / (2 * length**2)))

    wanted = np.zeros((4, M, 2, M))
    for p, x in enumerate(one):
        for q, y in enumerate(other):
            for i, e in enumerate(np.eye(M) * step):
                for j, d in enumerate(np.eye(M) * step):
                    corners = (
                        plain(x + e, y + d) - plain(x + e, y - d) - plain(x - e, y + d) + plain(x - e, y - d)
                    )
                    wanted[p, i, q, j] = corners / (4 * step**2)
    np.testing.assert_allclose(gradient_kernel(one, other, length), wanted.reshape(4 * M, 2 * M), atol=1e-6)
    both = gradient_kernel(np.stack([one, one]), other, length)
    np.testing.assert_array_equal(both[0], both[1])
    square = gradient_kernel(one, one, length)
    assert np.linalg.eigvalsh(square).min() > 0


def test_it_passes_through_what_is_known_exactly_and_knows_little_far_away() -> None:
    weights = simplex.cell_centres(M, 2)
    gp = GradientGP.fit(weights, front(weights), np.zeros((len(weights), M)))
    means, covariances = gp.predict(weights[:, None])
    spread = np.ptp(front(weights), axis=0)
    misfit = 0.02 * spread  # how far policies may be from the best is fitted too, and small here
    np.testing.assert_allclose(means[:, 0] / misfit, front(weights) / misfit, atol=1.0)
    far = gp.predict(np.array([[[0.0, 0.0, 1.0]]]))[1][0]
    assert (np.diag(far) > np.diagonal(covariances[0])).all()


def test_six_policies_tell_the_rest_of_the_front_and_by_how_much_they_may_err() -> None:
    weights = np.vstack([np.eye(M), simplex.cell_centres(M, 1)])
    gp = GradientGP.fit(weights, front(weights), np.full((len(weights), M), 1e-8))
    grid = simplex.cell_centres(M, 12)
    means, covariances = gp.predict(grid[:, None])
    truth, spread = front(grid), np.ptp(front(np.eye(M)), axis=0)
    errors = np.abs(means[:, 0] - truth) / spread
    assert np.sqrt((errors**2).mean()) < 0.06
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2)) / spread
    assert (errors < 3 * deviations + 0.02).mean() > 0.95


def test_the_unit_of_all_values_does_not_matter() -> None:
    weights = np.vstack([np.eye(M), simplex.cell_centres(M, 1)])
    grid, variances = simplex.cell_centres(M, 4), np.full((len(weights), M), 1e-6)
    plain = GradientGP.fit(weights, front(weights), variances).predict(grid[:, None])
    large = GradientGP.fit(weights, 1000 * front(weights), 1e6 * variances).predict(grid[:, None])
    np.testing.assert_allclose(large[0], 1000 * plain[0], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(large[1], 1e6 * plain[1], rtol=1e-3, atol=10)


@pytest.mark.parametrize("q", [1, 4])
def test_points_asked_together_covary_as_asked_one_by_one(q: int) -> None:
    weights = np.vstack([np.eye(M), simplex.cell_centres(M, 1)])
    gp = GradientGP.fit(weights, front(weights), np.full((len(weights), M), 1e-6))
    grid = simplex.cell_centres(M, 5)[: 2 * q].reshape(2, q, M)
    means, covariances = gp.predict(grid)
    assert means.shape == (2, q, M)
    assert covariances.shape == (2, q * M, q * M)
    alone = gp.predict(grid[1, -1][None])
    np.testing.assert_allclose(means[1, -1], alone[0][0], rtol=1e-9)
    np.testing.assert_allclose(covariances[1][-M:, -M:], alone[1], rtol=1e-6, atol=1e-9)
