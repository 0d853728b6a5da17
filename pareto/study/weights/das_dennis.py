"""The lattice of Das and Dennis, boundary included."""

from __future__ import annotations

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, lattice_divisions, with_corners


@WEIGHTS.register("das_dennis", source="Das and Dennis (1998), normal-boundary intersection")
def das_dennis(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Take every point k/H of the lattice.

    Args:
        objectives: m of them.
        config: `n` weights in all at most, or lattice `divisions` H; `corners` only puts the corners first, because the
            lattice holds them anyway.

    Returns:
        [C(H+m-1, m-1), m].

    Raises:
        ConfigError: n is too small for a lattice with its corners.
    """
    m = len(objectives)
    divisions = lattice_divisions(config, m, beside=0)
    if divisions == 0:
        raise ConfigError(
            f"weights.kind das_dennis needs at least the {m} corners: weights.n >= {m} or weights.divisions >= 1; got "
            f"n={config.n}, divisions={config.divisions}"
        )
    return with_corners(simplex.das_dennis(m, divisions), config.corners)
