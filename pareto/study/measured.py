"""What finished policies have shown on the selection split: the data every choice of a sweep rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.objectives import Objectives
from pareto.study.front_json import Scored

RESAMPLES = 400
"""Resamples of the units behind a choice: a probability of .95 is known to about .01."""


@dataclass(frozen=True)
class Measured:
    """Weights with finite selection scores, several seeds of a weight vector as one.

    Args:
        weights: [n, m] as trained for, in the order in which they were planned.
        values: [n, m] means over units and seeds, larger is better.
        variances: [n, m] squared standard errors of `values`.
        offsets: [n] -beta KL to the reference where a policy says so, else 0.
        units: [n, u, m] values per unit, means over seeds; None where policies were not scored on the same units.
    """

    weights: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    offsets: np.ndarray
    units: np.ndarray | None

    def take(self, rows: np.ndarray) -> Measured:
        """Some of the weights, by mask or row numbers."""
        units = None if self.units is None else self.units[rows]
        return Measured(
            self.weights[rows], self.values[rows], self.variances[rows], self.offsets[rows], units
        )


def weights_key(weights: np.ndarray) -> tuple[float, ...]:
    """Weights as a name: equal up to the last digits."""
    return tuple(np.round(weights, 9).tolist())


def measured(policies: Sequence[Scored], objectives: Objectives) -> Measured:
    """Gather the selection scores of the policies that have weights and finite scores.

    Noise that all policies share (a hard prompt is hard for every policy) moves the whole front and misleads no choice.
    Where all were scored on the same units it is taken out of the variances: what is left of unit u and policy k is
    v_ku - mean_u v_ku - mean_k v_ku + mean. With several seeds, what the means of seeds differ by beyond that is added,
    pooled over weights.

    Args:
        policies: scored policies, in plan order.
        objectives: m of them.
    """
    groups: dict[tuple[float, ...], list[Scored]] = {}
    for policy in policies:
        if policy.policy["weights"] is not None and policy.why_quarantined(objectives) is None:
            named = objectives.vector(policy.policy["weights"])
            groups.setdefault(weights_key(named), []).append(policy)
    m = len(objectives)
    if not groups:
        none = np.zeros((0, m))
        return Measured(none, none, none, np.zeros(0), None)
    members = list(groups.values())
    seeds = [[objectives.orient(p.scores.selection) for p in group] for group in members]
    first = members[0][0].scores.selection_ids
    shared = all(np.array_equal(p.scores.selection_ids, first) for group in members for p in group)
    units = np.array([np.mean(group, axis=0) for group in seeds]) if shared else None
    within = (
        _shared_variance(units)
        if units is not None
        else np.array([np.mean([_variance(v) for v in group], axis=0) / len(group) for group in seeds])
    )
    between = _between_seeds(seeds)
    return Measured(
        np.array([objectives.vector(group[0].policy["weights"]) for group in members]),
        np.array([np.mean([v.mean(axis=0) for v in group], axis=0) for group in seeds]),
        within + np.array([between / len(group) for group in seeds]),
        np.array([np.mean([_offset(p) for p in group]) for group in members]),
        units,
    )


def resampled_means(units: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """[RESAMPLES, n, m] means of [n, u, m] over units drawn with replacement, the same units for every policy."""
    n_units = units.shape[1]
    counts = draw.multinomial(n_units, np.full(n_units, 1 / n_units), size=RESAMPLES)
    return np.einsum("bu,num->bnm", counts / n_units, units)


def _variance(values: np.ndarray) -> np.ndarray:
    """[m] squared standard error of the mean of [u, m]; 0 for one unit, about which nothing is known."""
    return values.var(axis=0, ddof=1) / len(values) if len(values) > 1 else np.zeros(values.shape[1])


def _shared_variance(units: np.ndarray) -> np.ndarray:
    """[n, m] squared standard errors without what all policies have in common."""
    n, u, _ = units.shape
    if n < 2 or u < 2:
        return np.array([_variance(v) for v in units])
    left = units - units.mean(axis=1, keepdims=True) - units.mean(axis=0) + units.mean(axis=(0, 1))
    return (left**2).sum(axis=1) / ((u - 1) * (1 - 1 / n)) / u


def _between_seeds(seeds: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """[m] variance between the means of seeds, pooled over weights; 0 where every weight vector has one seed."""
    several = [np.array([v.mean(axis=0) for v in group]) for group in seeds if len(group) > 1]
    if not several:
        return np.zeros(seeds[0][0].shape[1])
    freedom = sum(len(means) - 1 for means in several)
    return sum((((means - means.mean(axis=0)) ** 2).sum(axis=0) for means in several), np.zeros(())) / freedom


def _offset(policy: Scored) -> float:
    facts: Mapping[str, Any] = {
        **policy.scores.facts.get("heldout", {}),
        **policy.scores.facts.get("selection", {}),
    }
    beta, kl = policy.policy["extra"].get("beta"), facts.get("kl_nats")
    return -float(beta) * float(kl) if beta is not None and kl is not None else 0.0
