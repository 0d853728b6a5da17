"""Where the weights of a study come from: one file a kind.

A kind is a function `(objectives, config) -> [n, m]`: the weights of a study in the order in which they are planned, on
the simplex (or unit directions, for methods that take those) and without doubles. It draws numbers from streams named by
`config.seed` alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError
from pareto.objectives import Objectives
from pareto.registry import Registry
from pareto.study.config import WeightsConfig

WeightsKind = Callable[[Objectives, WeightsConfig], np.ndarray]

WEIGHTS: Registry[WeightsKind] = Registry("weights kind", "pareto.study.weights")

DEFAULT_DIVISIONS = 4
"""Lattice divisions where a config names neither a number nor divisions: 5 inner weights for two objectives."""


def with_corners(weights: np.ndarray, corners: bool) -> np.ndarray:
    """[n', m]: the m corners first where wanted, then the rest in order, each weight vector once."""
    m = weights.shape[1]
    rows = np.concatenate([simplex.corners(m), weights]) if corners else weights
    _, first = np.unique(np.round(rows, 12), axis=0, return_index=True)
    return rows[np.sort(first)]


def lattice_divisions(config: WeightsConfig, m: int, beside: int) -> int:
    """Lattice divisions that a config asks for.

    Args:
        config: names `divisions`, or `n`: the largest lattice that keeps the whole study within n weights.
        m: objectives.
        beside: how many weights of the n lie outside the lattice (corners).

    Raises:
        ConfigError: n leaves no room for a lattice point.
    """
    if config.divisions is not None:
        return config.divisions
    if config.n is None:
        return DEFAULT_DIVISIONS
    if config.n <= beside:
        raise ConfigError(
            f"weights.n must be larger than the {beside} corners it includes; got {config.n}; "
            "raise it, or say weights.corners: false"
        )
    return simplex.divisions_for(m, config.n - beside)
