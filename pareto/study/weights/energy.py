"""Well-spaced weights of any number: minimal Riesz energy."""

from __future__ import annotations

import contextlib
import io

import numpy as np

from pareto.errors import ConfigError, MissingPackageError
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, with_corners


@WEIGHTS.register("energy", source="Blank et al. (2021), Riesz s-energy reference directions, through pymoo")
def energy(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Spread exactly n weights by letting them repel each other: sum over pairs of |w_i - w_j|^-s is minimal.

    Fits any n, where lattices only have certain sizes. For small n most weights lie on the boundary of the simplex.

    Args:
        objectives: m of them, two at least.
        config: `n` weights in all; `corners` puts the corners first, they are extreme points of the result anyway;
            `seed` of the start.

    Returns:
        [n, m].

    Raises:
        ConfigError: n is missing or smaller than m.
        MissingPackageError: pymoo is not installed.
    """
    m = len(objectives)
    if config.n is None or config.n < m:
        raise ConfigError(
            f"weights.kind energy needs weights.n, at least the {m} corners it includes; got {config.n}"
        )
    try:
        from pymoo.util.ref_dirs import get_reference_directions
    except ImportError as error:
        raise MissingPackageError("pymoo", "adaptive", "weights.kind energy") from error
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of optional modules that were not compiled
        rows = np.asarray(get_reference_directions("energy", m, config.n, seed=config.seed))
    rows = np.clip(rows, 0.0, None)
    rows = (rows / rows.sum(axis=1, keepdims=True)).round(12)
    return with_corners(rows / rows.sum(axis=1, keepdims=True), config.corners)[: config.n]
