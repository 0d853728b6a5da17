"""Hypervolume tools: validation gate, dominance, hypervolume, indicators, intervals. No torch.

Everything maximises; `directions` turn minimised objectives at the edge. Arrays, pandas frames, torch tensors and lists are
accepted. Rows with NaN or infinity never reach an engine: they are set aside, counted and named.
"""

from __future__ import annotations

from pareto.front.across_seeds import interquartile_mean, probability_of_improvement, seed_interval
from pareto.front.attainment import attainment_difference, attainment_surfaces
from pareto.front.cardinality import cardinality
from pareto.front.comparison import Comparison, compare_methods, holm, paired_bootstrap, wilcoxon
from pareto.front.dominance import non_dominated, non_dominated_ranks
from pareto.front.epsilon_additive import epsilon_additive
from pareto.front.epsilon_multiplicative import epsilon_multiplicative
from pareto.front.equal_kl import EqualKL, equal_kl, hypervolume_within_kl
from pareto.front.expected_utility import expected_utility, expected_utility_estimate
from pareto.front.gate import OutsideReferenceWarning, Points, QuarantineWarning, admit
from pareto.front.hypervolume import hypervolume, hypervolume_contributions, hypervolume_estimate
from pareto.front.hypervolume_with_mixtures import hypervolume_with_mixtures
from pareto.front.igd import igd
from pareto.front.igd_plus import igd_plus
from pareto.front.indicator import INDICATORS, Indicator, Yardstick, indicator
from pareto.front.indicators import indicators
from pareto.front.intervals import Interval, hypervolume_interval, indicator_interval, mean_interval
from pareto.front.knee import knee_prices, knee_scores
from pareto.front.maximum_utility_loss import maximum_utility_loss
from pareto.front.pseudo_weights import pseudo_weights
from pareto.front.quadrature import Estimate
from pareto.front.r2 import r2
from pareto.front.reference_point import nadir_reference
from pareto.front.relative_hypervolume import relative_hypervolume
from pareto.front.requirement import Requirement, check_requirements
from pareto.front.spacing import spacing
from pareto.front.sparsity import sparsity
from pareto.front.subset import hypervolume_subset
from pareto.front.trade_offs import TradeOff, trade_off_rates
from pareto.front.utilities import chebyshev_utilities, linear_utilities

__all__ = [
    "Comparison",
    "EqualKL",
    "Estimate",
    "INDICATORS",
    "Indicator",
    "Interval",
    "OutsideReferenceWarning",
    "Points",
    "QuarantineWarning",
    "Requirement",
    "TradeOff",
    "Yardstick",
    "admit",
    "attainment_difference",
    "attainment_surfaces",
    "cardinality",
    "chebyshev_utilities",
    "check_requirements",
    "compare_methods",
    "epsilon_additive",
    "epsilon_multiplicative",
    "equal_kl",
    "expected_utility",
    "expected_utility_estimate",
    "holm",
    "hypervolume",
    "hypervolume_contributions",
    "hypervolume_estimate",
    "hypervolume_interval",
    "hypervolume_subset",
    "hypervolume_with_mixtures",
    "hypervolume_within_kl",
    "igd",
    "igd_plus",
    "indicator",
    "indicator_interval",
    "indicators",
    "interquartile_mean",
    "knee_prices",
    "knee_scores",
    "linear_utilities",
    "maximum_utility_loss",
    "mean_interval",
    "nadir_reference",
    "non_dominated",
    "non_dominated_ranks",
    "paired_bootstrap",
    "probability_of_improvement",
    "pseudo_weights",
    "r2",
    "relative_hypervolume",
    "seed_interval",
    "spacing",
    "sparsity",
    "trade_off_rates",
    "wilcoxon",
]
