"""Which weights are worth training to the end, seen from what they reached on the way."""

from __future__ import annotations

import math

import numpy as np

from pareto import front as tools
from pareto import rng
from pareto.study.config import EarlyConfig
from pareto.study.measured import Measured, resampled_means


def kept(config: EarlyConfig, candidates: Measured, others: Measured, ref_point: np.ndarray) -> np.ndarray:
    """[n] bool, the candidates to train on.

    Args:
        config: the rule.
        candidates: n partly trained weights.
        others: weights that are trained to the end.
        ref_point: [m], larger is better.
    """
    rule = {"halving": _halving, "dominated": _undominated}[config.rule]
    return rule(config, candidates, others, ref_point)


def _halving(
    config: EarlyConfig, candidates: Measured, others: Measured, ref_point: np.ndarray
) -> np.ndarray:
    """Keep the half that has the largest hypervolume as a set, chosen greedily.

    A half and no smaller share, and as a set and not one by one: on synthetic fronts with a fifth of the runs bad,
    keeping a third lost to training fewer weights to the end, and so did ranking weights by their own utility.
    Finished weights stay out of it: a candidate that is half trained is not to be measured against them.
    """
    wanted = math.ceil(len(candidates.weights) / 2)
    chosen = np.zeros(len(candidates.weights), dtype=bool)
    chosen[tools.hypervolume_subset(candidates.values, ref_point, wanted)] = True
    return chosen


def _undominated(
    config: EarlyConfig, candidates: Measured, others: Measured, ref_point: np.ndarray
) -> np.ndarray:
    """Keep what no other policy, finished or not, beats in every objective with the wanted probability.

    Probabilities come from resampled units, the same for both, or from the standard errors where units differ. They are
    above one half, so two candidates never stop each other.
    """
    n = len(candidates.weights)
    values = np.concatenate([candidates.values, others.values])
    draw = rng.generator("early", "dominated", n, len(values))
    if candidates.units is not None and others.units is not None:
        means = resampled_means(np.concatenate([candidates.units, others.units]), draw)
    else:
        spread = np.sqrt(np.concatenate([candidates.variances, others.variances]))
        means = values + spread * draw.standard_normal((400, *values.shape))
    better = (means[:, None, :, :] > means[:, :n, None, :]).all(axis=-1).mean(axis=0)  # [n, others]
    return ~(better >= config.confidence).any(axis=1)
