"""Weights on the simplex, directions on the sphere."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np

from pareto.errors import SimplexError

TOLERANCE = 1e-6
"""How far a sum of weights may be from 1: wide enough for float32."""


def check(weights: Any) -> np.ndarray:
    """Return weights [m] or [n, m] as float64 after checking that every row lies on the simplex.

    Raises:
        SimplexError: not finite, negative, or a row that does not sum to 1 within 1e-6.
    """
    w = np.asarray(weights, dtype=np.float64)
    rows = np.atleast_2d(w)
    if w.ndim not in (1, 2) or w.size == 0:
        raise SimplexError(f"weights must have shape [m] or [n, m]; got shape {w.shape}")
    for i, row in enumerate(rows):
        where = f"row {i} of shape {list(w.shape)}"
        if not np.isfinite(row).all():
            raise SimplexError(f"weights must be finite; {where} is {row.tolist()}")
        if (row < -TOLERANCE).any():
            raise SimplexError(
                f"weights must be >= 0; {where} is {row.tolist()}; a signed direction needs weights_kind 'direction'"
            )
        if abs(row.sum() - 1.0) > TOLERANCE:
            raise SimplexError(
                f"weights must sum to 1 within {TOLERANCE}; {where} sums to {row.sum():.6g}; divide it by its sum"
            )
    return w


def check_affine(weights: Any) -> np.ndarray:
    """Return weights [m] as float64 after checking that they sum to 1; negative ones lie outside the simplex.

    Raises:
        SimplexError: not finite, or a sum that is not 1 within 1e-6.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or abs(w.sum() - 1.0) > TOLERANCE:
        raise SimplexError(f"weights must be finite and sum to 1 within {TOLERANCE}; got {w.tolist()}")
    return w


def check_direction(direction: Any) -> np.ndarray:
    """Return a direction [m] or [n, m] as float64 after checking that every row has length 1.

    Raises:
        SimplexError: not finite, or a row whose Euclidean length is not 1 within 1e-6.
    """
    v = np.asarray(direction, dtype=np.float64)
    norms = np.linalg.norm(np.atleast_2d(v), axis=1)
    if not np.isfinite(v).all() or (abs(norms - 1.0) > TOLERANCE).any():
        raise SimplexError(
            f"directions must be finite and have length 1; got lengths {norms.tolist()}; divide each by its length"
        )
    return v


def corners(m: int) -> np.ndarray:
    """[m, m]: one row per objective, all weight on it."""
    return np.eye(m)


def compositions(total: int, m: int) -> np.ndarray:
    """[C(total+m-1, m-1), m] int64: every way to write `total` as an ordered sum of m counts, in lexicographic order."""
    if m == 1:
        return np.array([[total]])
    blocks = [
        np.column_stack([np.full(comb(total - k + m - 2, m - 2), k), compositions(total - k, m - 1)])
        for k in range(total + 1)
    ]
    return np.concatenate(blocks)


def das_dennis(m: int, divisions: int) -> np.ndarray:
    """[n, m]: the lattice k/H with H = `divisions`, boundary included.

    Source: Das and Dennis (1998), normal-boundary intersection.
    """
    return compositions(divisions, m) / divisions


def cell_centres(m: int, divisions: int) -> np.ndarray:
    """[n, m]: centres of the lattice's cells, (k + 1/m)/(H + 1): as many points as `das_dennis`, none on the boundary."""
    return (compositions(divisions, m) + 1.0 / m) / (divisions + 1)


def divisions_for(m: int, n: int) -> int:
    """Largest lattice division whose point count C(H+m-1, m-1) does not exceed n (at least 0)."""
    divisions = 0
    while comb(divisions + m, m - 1) <= n and m > 1:
        divisions += 1
    return divisions


def sample(m: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """[n, m] uniform on the simplex (Dirichlet with all parameters 1)."""
    return rng.dirichlet(np.ones(m), size=n)
