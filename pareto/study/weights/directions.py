"""Unit directions, some of them with negative weights: for methods that are told what to go towards and away from."""

from __future__ import annotations

import numpy as np

from pareto import rng
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, with_corners


@WEIGHTS.register(
    "directions",
    source="Wang et al. (2024), arXiv 2402.18571: directions (cos t, sin t), negative weights included",
)
def directions(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Spread directions over the half-sphere on which more is wanted than is not, sum_j v_j >= 0.

    Args:
        objectives: m of them.
        config: `n` directions in all (5); of two objectives evenly spaced angles from -45 to 135 degrees, of more drawn
            ones with `seed`; `corners` puts the m axes first.

    Returns:
        [n, m] of length 1.
    """
    m, n = len(objectives), config.n or 5
    inner = max(n - (m if config.corners else 0), 0)
    if m == 2:
        # both axes are among n evenly spaced angles where they cut the arc into quarters
        angles = np.radians(np.linspace(-45.0, 135.0, n if (n - 1) % 4 == 0 else inner))
        rows = np.round(np.column_stack([np.cos(angles), np.sin(angles)]), 15)
    else:
        v = rng.generator("directions", config.seed).standard_normal((inner, m))
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        rows = np.where(v.sum(1, keepdims=True) < 0, -v, v)
    return with_corners(rows, config.corners) + 0.0  # no -0.0
