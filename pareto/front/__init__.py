"""Hypervolume tools: validation gate, dominance, hypervolume, indicators, intervals. No torch.

Everything maximises; `directions` turn minimised objectives at the edge. Arrays, pandas frames, torch tensors and lists are
accepted. Rows with NaN or infinity never reach an engine: they are set aside, counted and named.
"""

from __future__ import annotations

from pareto.front.cardinality import cardinality
from pareto.front.dominance import non_dominated, non_dominated_ranks
from pareto.front.expected_utility import expected_utility, expected_utility_estimate
from pareto.front.gate import OutsideReferenceWarning, Points, QuarantineWarning, admit
from pareto.front.hypervolume import hypervolume, hypervolume_contributions, relative_hypervolume
from pareto.front.hypervolume_with_mixtures import hypervolume_with_mixtures
from pareto.front.indicator import INDICATORS, Indicator, Yardstick, indicator
from pareto.front.indicators import indicators
from pareto.front.intervals import Interval, hypervolume_interval, indicator_interval, mean_interval
from pareto.front.quadrature import Estimate
from pareto.front.reference_point import nadir_reference
from pareto.front.sparsity import sparsity

__all__ = [
    "INDICATORS",
    "Estimate",
    "Indicator",
    "Interval",
    "OutsideReferenceWarning",
    "Points",
    "QuarantineWarning",
    "Yardstick",
    "admit",
    "cardinality",
    "expected_utility",
    "expected_utility_estimate",
    "hypervolume",
    "hypervolume_contributions",
    "hypervolume_interval",
    "hypervolume_with_mixtures",
    "indicator",
    "indicator_interval",
    "indicators",
    "mean_interval",
    "nadir_reference",
    "non_dominated",
    "non_dominated_ranks",
    "relative_hypervolume",
    "sparsity",
]
