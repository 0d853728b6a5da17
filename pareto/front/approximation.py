"""Hypervolume where the exact one would take too long: an approximation that says how far it may be off."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front import engines
from pareto.front.quadrature import SHIFTS, T_975_15, Estimate
from pareto.rng import derive_seed

DIRECTIONS = 1 << 18
"""Directions of the polar integral (moocore's default)."""


def approximate_volume(points: np.ndarray, ref_point: np.ndarray) -> Estimate:
    """Hypervolume of clean points [n, m] above ref_point [m], m >= 2, with a 95 % bound on the error.

    The value is a low-discrepancy polar integral; the bound is its distance from an independent Monte-Carlo mean plus the
    half-width of that mean's own interval (Student's t over 16 streams).

    Source: Deng and Zhang (2019) for the polar integral; López-Ibáñez (2026), moocore's Rphi-FWE+, for the directions.
    """
    value = moocore.hv_approx(-points, ref=-ref_point, nsamples=DIRECTIONS)
    drawn = np.array(
        [
            moocore.hv_approx(
                -points,
                ref=-ref_point,
                nsamples=DIRECTIONS // SHIFTS,
                method="DZ2019-MC",
                seed=derive_seed("approximate_volume", i) % (1 << 31),
            )
            for i in range(SHIFTS)
        ]
    )
    error = abs(value - drawn.mean()) + T_975_15 * drawn.std(ddof=1) / np.sqrt(SHIFTS)
    return Estimate(value, float(error), f"approximate, {DIRECTIONS} directions")


def expected_seconds(n: int, m: int) -> float:
    """Seconds that the exact hypervolume of n mutually non-dominated points takes on one core, by order of magnitude.

    Fitted to points on spheres, n = 40 to 10,000: moocore 1e-4 s at n = 100 and m = 5, fifteen times that per further
    objective, growing as n^(0.55 m); pygmo 1.5e-3 s at n = 100 and m = 6, thrice that per further objective, as n^2.5.
    """
    if m <= 4:
        return 1e-9 * float(n) ** 2
    if m >= 6 and engines.pygmo() is not None:
        return 1.5e-3 * 3.0 ** (m - 6) * (n / 100) ** 2.5
    return 1e-4 * 15.0 ** (m - 5) * (n / 100) ** (2.2 if m == 5 else 0.55 * m)
