"""How well a policy orders held-out pairs, per instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.data.pairs import PreferencePairs


@dataclass(frozen=True)
class PairScores:
    """A policy on the pairs of one part.

    Args:
        values: [n_units, m] accuracy per instruction; see `complete`.
        units: [n_units] int64, the prompt of each row: those with a decided pair under some objective.
        facts: objective -> accuracy, margin_nats (mean difference of the log-ratios of winner and loser),
            ranking_accuracy (by the policy's log-probabilities alone), pairs, instructions.
    """

    values: np.ndarray
    units: np.ndarray
    facts: dict[str, dict[str, Any]]


def score_pairs(pairs: PreferencePairs, logps: np.ndarray, ref_logps: np.ndarray) -> PairScores:
    """Score a policy by its implicit rewards.

    A pair counts 1 where log(pi / pi_ref) of the winner is above the loser's, and one half where both are equal. An
    instruction's value is the mean over its decided pairs, so instructions with many pairs weigh no more than others.

    Args:
        pairs: labelled pairs.
        logps: [n_responses] nats, of the policy.
        ref_logps: [n_responses] nats, of the reference.
    """
    n_prompts, names = len(pairs.table.prompts), pairs.objectives.names
    ratio = logps - ref_logps
    table = np.full((n_prompts, len(names)), np.nan)
    facts = {}
    for j, name in enumerate(names):
        rows, chosen, rejected = pairs.decided(name)
        prompt = pairs.table.prompt_of[pairs.a[rows]]
        margin = ratio[chosen] - ratio[rejected]
        table[:, j] = mean_per_unit(prompt, wins(margin), n_prompts)
        facts[name] = {
            "accuracy": float(np.nanmean(table[:, j])),
            "margin_nats": float(np.nanmean(mean_per_unit(prompt, margin, n_prompts))),
            "ranking_accuracy": float(
                np.nanmean(mean_per_unit(prompt, wins(logps[chosen] - logps[rejected]), n_prompts))
            ),
            "pairs": len(rows),
            "instructions": int((~np.isnan(table[:, j])).sum()),
        }
    units = np.flatnonzero(~np.isnan(table).all(axis=1))
    return PairScores(complete(table[units]), units, facts)


def wins(margin: np.ndarray) -> np.ndarray:
    """1 where the margin is positive, 1/2 where it is zero, 0 where it is negative."""
    return (np.sign(margin) + 1.0) / 2.0


def mean_per_unit(unit: np.ndarray, values: np.ndarray, n_units: int) -> np.ndarray:
    """[n_units] mean of the values of each unit, NaN where it has none."""
    n = np.bincount(unit, minlength=n_units)
    total = np.bincount(unit, weights=values, minlength=n_units)
    return np.divide(total, n, out=np.full(n_units, np.nan), where=n > 0)


def complete(values: np.ndarray) -> np.ndarray:
    """Give every unit a number under every objective without changing a mean or its standard error.

    Where only n_j of n units are labelled under objective j, their values are spread around their mean by n / n_j and
    the others get the mean itself: the linearisation of a ratio of means. With all units labelled nothing changes.

    Args:
        values: [n, m], NaN where a unit is not labelled; every column has a number.

    Returns:
        [n, m] without NaN; single entries may leave the range of the values.
    """
    known = ~np.isnan(values)
    mean = np.nanmean(values, axis=0)
    spread = np.where(known, np.nan_to_num(values) - mean, 0.0)
    return mean + spread * (len(values) / known.sum(axis=0))
