"""Weights written out in the config."""

from __future__ import annotations

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError, SimplexError
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, with_corners


@WEIGHTS.register("list", source="the user")
def listed(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Take exactly the weights, or unit directions, that `weights.list` names, in that order; `corners` adds nothing.

    Args:
        objectives: m of them.
        config: `list`, objective -> number each.

    Returns:
        [n, m].

    Raises:
        ConfigError: a row is neither on the simplex nor of length 1, with its number.
    """
    rows = [objectives.vector(named) for named in config.list or ()]
    for i, row in enumerate(rows):
        try:
            simplex.check(row)
        except SimplexError as error:
            if abs(np.linalg.norm(row) - 1.0) > simplex.TOLERANCE:  # a direction, then
                raise ConfigError(f"weights.list[{i}]: {error}") from error
    return with_corners(np.array(rows), corners=False)
