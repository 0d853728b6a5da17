"""What serves weights when nobody says how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import SimplexError, UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.members import SAME, barycentric, chosen_records, why_not


@dataclass(frozen=True)
class Choice:
    """A steering method and the reason for it.

    Args:
        method: "soup", "heads", "prompt", "conditioned" or "nearest".
        why: in words.
    """

    method: str
    why: str


OF_KIND = {
    "heads": Choice("heads", "the heads of one backbone, mixed"),
    "prompt": Choice("prompt", "a policy that reads its weights"),
    "conditioned": Choice("conditioned", "a policy whose head is told the weights"),
}
"""What serves runs whose policies are all of one kind that takes any weights."""


def choose(run: PolicySet, weights: np.ndarray, *, extrapolate: bool = False) -> Choice:
    """Say what `auto` serves, without loading a model.

    Args:
        run: the policy set.
        weights: [m], checked.
        extrapolate: whether weights outside the simplex were asked for.
    """
    distance = np.linalg.norm(run.weights - weights, axis=1)
    if np.isnan(distance).all():
        return Choice("assigned", "policies without weights: the one that is worth most under these")
    if (distance <= SAME).any():
        return Choice("nearest", "a policy was made for exactly these weights")
    kinds = {r.kind for r in run if r.weights is not None}
    if len(kinds) == 1 and (own := OF_KIND.get(next(iter(kinds)))) is not None:
        return own
    try:
        among = chosen_records(run, "corners" if extrapolate else "all")
        points = np.array([run.objectives.vector(r.weights or {}) for r in among])
        barycentric(points, weights, extrapolate=extrapolate)
    except (UsageError, SimplexError) as error:
        return Choice("nearest", str(error))
    reason = why_not(run, among)
    if reason is not None:
        return Choice("nearest", reason)
    return Choice("soup", "the exact mixture of the nearest measured policies around the weights")


@STEERERS.register(
    "auto", source="this suite: what was measured, then what can be mixed exactly, then what is nearest"
)
def auto(run: PolicySet, weights: np.ndarray, *, extrapolate: bool = False, **options: Any) -> Any:
    """Serve the weights in the best way the run allows; `pareto.steer.auto.choose` says which and why.

    A policy that was made for exactly these weights is served as it was measured. Else heads are mixed where the policies
    have them, or the policy is told the weights where it was trained for that; and else the exact mixture (`soup`) of the
    nearest measured policies around the weights is taken, which meets every measured policy where its weights are asked for.
    Where the policies cannot be mixed, it is the nearest one.

    Args:
        run: the policy set.
        weights: [m], checked.
        extrapolate: weights may lie outside the simplex; then the corners are mixed.
        options: of the method that is chosen.
    """
    choice = choose(run, weights, extrapolate=extrapolate)
    if extrapolate and choice.method != "nearest":
        options |= {"extrapolate": True}
    elif choice.method == "soup":
        options = {"among": "all"} | options
    return STEERERS.get(choice.method)(run, weights, **options)
