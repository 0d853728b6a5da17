"""Centres of a lattice's cells, behind the corners: the default."""

from __future__ import annotations

import numpy as np

from pareto import simplex
from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS, lattice_divisions, with_corners


@WEIGHTS.register("cells", source="cell centres (k + 1/m)/(H + 1) of the lattice of Das and Dennis (1998)")
def cells(objectives: Objectives, config: WeightsConfig) -> np.ndarray:
    """Spread weights over the inside of the simplex: no weight is wasted on the boundary but the m corners.

    Args:
        objectives: m of them.
        config: `n` weights in all at most, or lattice `divisions`; `corners` adds the corners.

    Returns:
        [n, m].
    """
    m = len(objectives)
    if config.corners and config.n == m:
        return simplex.corners(m)
    divisions = lattice_divisions(config, m, beside=m if config.corners else 0)
    return with_corners(simplex.cell_centres(m, divisions), config.corners)
