"""A Gaussian process for values of best policies: they are the gradient of the best utility.

Let J(w) be the largest utility w . f(pi) + t(pi) that any policy pi reaches, t being a KL penalty or nothing. By the
envelope theorem the values of the policy that reaches it are f(w) = dJ/dw: no field of values without this shape can come
from maximising. So one process for the scalar J gives all m values, their correlations included, and knows from the few
corners what independent processes need a dozen runs to see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

LENGTH, LENGTH_SPREAD = 0.7, 0.5
"""Median and log standard deviation of the length scale's prior, in weights: fronts bend once or twice over the simplex."""
BOUNDS = ((np.log(0.1), np.log(5.0)), (np.log(1e-3), np.log(100.0)), (np.log(1e-3), np.log(0.3)))
"""Of log length scale, log amplitude, and log misfit: how far trained policies are from the best, in ranges of a value."""


@dataclass(frozen=True)
class GradientGP:
    """A fitted process; make one with `fit`.

    Args:
        inputs: [n, m] scaled weights of the data.
        scale: [m] weights are multiplied by it, values divided: ranges of the objectives over their mean.
        centre: [m] mean of the scaled values, a slope of J.
        length: length scale.
        amplitude: standard deviation of J.
        factor: [n m, n m] lower Cholesky factor of the data's covariance.
        solved: [n m] that covariance inverted, times the centred data.
    """

    inputs: np.ndarray
    scale: np.ndarray
    centre: np.ndarray
    length: float
    amplitude: float
    factor: np.ndarray
    solved: np.ndarray

    @classmethod
    def fit(cls, weights: np.ndarray, values: np.ndarray, variances: np.ndarray) -> GradientGP:
        """Fit to measured policies by the largest posterior density of length scale, amplitude and misfit.

        Args:
            weights: [n, m] on the simplex.
            values: [n, m].
            variances: [n, m] squared standard errors of `values`.
        """
        ranges = np.where(np.ptp(values, axis=0) > 0, np.ptp(values, axis=0), 1.0)
        scale = ranges / ranges.mean()
        inputs, scaled = weights * scale, values / ranges
        centre = scaled.mean(axis=0)
        data, noise = (scaled - centre).ravel(), (variances / ranges**2).ravel()

        def covariance(log: np.ndarray) -> np.ndarray:
            length, amplitude, misfit = np.exp(log)
            prior = amplitude**2 * gradient_kernel(inputs, inputs, length)
            return prior + np.diag(noise + misfit**2 + 1e-10)

        def cost(log: np.ndarray) -> float:
            factor = cholesky(covariance(log), lower=True)
            z = solve_triangular(factor, data, lower=True)
            drawn = 0.5 * ((log[0] - np.log(LENGTH)) / LENGTH_SPREAD) ** 2
            return 0.5 * z @ z + np.log(np.diag(factor)).sum() + drawn

        starts = [np.log([length, length, 0.03]) for length in (0.3, LENGTH, 1.5)]
        found = min(
            (minimize(cost, s, method="L-BFGS-B", bounds=BOUNDS) for s in starts), key=lambda r: r.fun
        )
        factor = cholesky(covariance(found.x), lower=True)
        length, amplitude, _ = np.exp(found.x)
        return cls(inputs, ranges, centre, length, amplitude, factor, cho_solve((factor, True), data))

    def predict(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Posterior of the values at some weights.

        Args:
            weights: [..., q, m] on the simplex.

        Returns:
            means [..., q, m] and covariances [..., q m, q m], the objectives of one point side by side.
        """
        *batch, q, m = weights.shape
        points = weights * (self.scale / self.scale.mean())
        flat = points.reshape(-1, q, m)
        cross = self.amplitude**2 * gradient_kernel(flat, self.inputs, self.length)
        prior = self.amplitude**2 * gradient_kernel(flat, flat, self.length)
        means = (cross @ self.solved).reshape(*batch, q, m) + self.centre
        half = solve_triangular(self.factor, cross.reshape(-1, cross.shape[-1]).T, lower=True)
        half = half.T.reshape(cross.shape)
        covariances = prior - half @ half.swapaxes(-1, -2)
        unit = np.tile(self.scale, q)
        return means * self.scale, (covariances * unit[:, None] * unit).reshape(*batch, q * m, q * m)


def gradient_kernel(one: np.ndarray, other: np.ndarray, length: float) -> np.ndarray:
    """Covariance of gradients of a process with kernel exp(-|x - y|^2 / (2 length^2)).

    cov(d_i J(x), d_j J(y)) = (delta_ij - (x_i - y_i)(x_j - y_j) / length^2) / length^2 * kernel.

    Args:
        one: [..., p, m].
        other: [..., q, m], broadcast against `one`.
        length: > 0.

    Returns:
        [..., p m, q m].
    """
    p, m, q = one.shape[-2], one.shape[-1], other.shape[-2]
    apart = (one[..., :, None, :] - other[..., None, :, :]) / length
    near = np.exp(-0.5 * (apart**2).sum(axis=-1)) / length**2
    blocks = (np.eye(m) - apart[..., :, None] * apart[..., None, :]) * near[..., None, None]
    return blocks.swapaxes(-3, -2).reshape(*blocks.shape[:-4], p * m, q * m)
