"""Weights drawn uniformly from the simplex."""

from __future__ import annotations

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError
from pareto.objectives import Objectives
from pareto.rng import generator
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, with_corners


@WEIGHTS.register("random", source="uniform on the simplex: Dirichlet(1, ..., 1)")
def random(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Draw weights; a larger `n` with the same seed keeps the ones drawn before.

    Args:
        objectives: m of them.
        config: `n` weights in all, corners included where `corners` is set; `seed` of the draw.

    Returns:
        [n, m].

    Raises:
        ConfigError: n is missing or leaves nothing to draw.
    """
    m = len(objectives)
    beside = m if config.corners else 0
    if config.n is None or config.n <= beside:
        raise ConfigError(
            f"weights.kind random needs weights.n > {beside}"
            f"{' (it includes the corners)' if beside else ''}; got {config.n}"
        )
    drawn = simplex.sample(m, config.n - beside, generator("weights", "random", config.seed, m))
    return with_corners(drawn, config.corners)
