"""Means over the simplex of weights by randomly shifted quasi-Monte-Carlo, with their error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pareto.rng import generator

SHIFTS = 16
T_975_15 = 2.131449545559323
"""97.5 % point of Student's t with SHIFTS - 1 degrees of freedom."""


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it may be off.

    Args:
        value: the figure.
        error: half-width of its 95 % interval; 0 where it is exact.
        method: how it was computed, for labels.
    """

    value: float
    error: float
    method: str

    def __float__(self) -> float:
        return self.value


def simplex_points(m: int, n: int, shift: np.ndarray) -> np.ndarray:
    """[n, m] low-discrepancy points, uniform on the simplex when `shift` [m-1] is uniform on the unit cube.

    Source: Roberts (2018), R_d sequence: multiples of powers of 1/phi, where phi^(d+1) = phi + 1; shifted modulo 1
        (Cranley and Patterson 1976) and folded (Hickernell 2002), then broken off the unit stick piece by piece.
    """
    d = m - 1
    phi = 2.0
    for _ in range(40):
        phi = (1.0 + phi) ** (1.0 / (d + 1))
    cube = (shift + np.outer(np.arange(n), phi ** -np.arange(1.0, d + 1))) % 1.0
    folded = 1.0 - np.abs(2.0 * cube - 1.0)
    left = np.cumprod(folded ** (1.0 / np.arange(d, 0, -1)), axis=1)
    return -np.diff(left, axis=1, prepend=1.0, append=0.0)


def simplex_mean(function: Callable[[np.ndarray], np.ndarray], m: int, n: int = 4096) -> Estimate:
    """Mean of a function [k, m] -> [k] over weights uniform on the simplex.

    Args:
        function: values of k weight vectors.
        m: number of objectives, >= 2.
        n: points per shift; 16 independent shifts give the error. The shifts are the same in every call, so that two sets
            are compared on the same weights.

    Returns:
        The mean and the half-width of its 95 % interval (Student's t over the shifts).
    """
    shifts = generator("simplex_mean", m).random((SHIFTS, m - 1))
    means = np.array([function(simplex_points(m, n, shift)).mean() for shift in shifts])
    error = T_975_15 * means.std(ddof=1) / np.sqrt(SHIFTS)
    return Estimate(float(means.mean()), float(error), f"quasi-Monte-Carlo, {SHIFTS} x {n} weights")
