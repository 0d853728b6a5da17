"""Ridge regression of attributes on features, each on the rows that have it, its strength chosen on other rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pareto.errors import DataError

STRENGTHS = tuple(10.0**k for k in range(-4, 5))
"""Strengths tried.

Source: the grid of ArmoRM's code (Wang et al., 2024, arXiv 2406.12845), 1e-4 to 1e4.
"""


class Ridge(NamedTuple):
    """A fitted regression: features @ weight.T + bias.

    Args:
        weight: [m, d] float64.
        bias: [m] float64.
        strength: [m], the chosen one of each attribute.
        r2: [m], share of the validation rows' variance that is explained.
    """

    weight: np.ndarray
    bias: np.ndarray
    strength: np.ndarray
    r2: np.ndarray


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    validation: np.ndarray,
    strengths: tuple[float, ...] = STRENGTHS,
) -> Ridge:
    """Minimise |X w + b - y|^2 + alpha |w|^2 for every attribute, alpha by squared error on validation rows.

    The intercept is not punished. The chosen fit is kept as it is, without the validation rows.

    Args:
        features: [n, d].
        targets: [n, m], NaN where an attribute is missing: that row does not count for it.
        validation: [n] bool, rows that choose.
        strengths: alpha tried; of equally good ones the largest.

    Raises:
        DataError: an attribute with less than two rows to fit on or none to choose on.

    Source: Hoerl and Kennard (1970); one regression an attribute as in ArmoRM's code. Differences: an intercept.
    """
    x = np.asarray(features, dtype=np.float64)
    m = targets.shape[1]
    found = [_fit_one(x, targets[:, j].astype(np.float64), validation, strengths, j) for j in range(m)]
    weight, bias, strength, r2 = (np.array([f[i] for f in found]) for i in range(4))
    return Ridge(weight.reshape(m, x.shape[1]), bias, strength, r2)


def _fit_one(
    x: np.ndarray, y: np.ndarray, validation: np.ndarray, strengths: tuple[float, ...], j: int
) -> tuple[np.ndarray, float, float, float]:
    fit, choose = np.isfinite(y) & ~validation, np.isfinite(y) & validation
    if fit.sum() < 2 or not choose.any():
        raise DataError(
            f"attribute {j} has {int(fit.sum())} rows to fit on and {int(choose.sum())} to choose its strength on; it needs "
            "2 and 1 at least"
        )
    centre, level = x[fit].mean(0), float(y[fit].mean())
    values, vectors = np.linalg.eigh((x[fit] - centre).T @ (x[fit] - centre))
    pull = vectors.T @ ((x[fit] - centre).T @ (y[fit] - level))
    best: tuple[float, np.ndarray, float] | None = None
    for alpha in sorted(strengths, reverse=True):
        w = vectors @ (pull / (values.clip(min=0.0) + alpha))
        error = float(np.mean((x[choose] @ w + (level - centre @ w) - y[choose]) ** 2))
        if best is None or error < best[0]:
            best = error, w, alpha
    assert best is not None
    error, w, alpha = best
    spread = float(y[choose].var())
    return w, level - float(centre @ w), alpha, 1.0 - error / spread if spread > 0 else float("nan")
