"""Weights said in front of the prompt, for policies that were trained to read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import nearest_record
from pareto.steer.soup import refuse_outside


@STEERERS.register(
    "prompt",
    source="Wang et al. (2024), arXiv 2402.18571, unit directions; Yang et al. (2024), arXiv 2402.10207, wanted rewards",
)
def prompt(
    run: PolicySet,
    weights: np.ndarray,
    *,
    study_seed: int | None = None,
    extrapolate: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
) -> Any:
    """Serve any weights, or any unit direction, by telling the policy; every row of a call may be told others.

    A run made for directions takes negative weights: less of an objective is wanted. Of several seeds the policy is the one
    whose own weights are nearest.

    Args:
        run: the policy set, made by `dpa` or `rewards_in_context`.
        weights: [m], checked.
        study_seed: of the policy that is told.
        extrapolate: is refused.
        device: where to compute.
        dtype: of the weights of the model.

    Returns:
        a `PromptPolicy`.

    Raises:
        UsageError: the run has no policy that reads weights, or weights outside the simplex are asked for.
        ArtifactError: a file of the policy is missing, changed or does not fit.
    """
    refuse_outside("prompt", extrapolate, "a policy is told weights of the kind it was trained to read")
    told = tuple(r for r in run.records if r.kind == "prompt" and study_seed in (None, r.seed))
    if not told:
        raise UsageError(
            f"no policy of {run.folder} reads weights in its prompt; train one with method dpa or rewards_in_context, or "
            "steer with 'nearest'"
        )
    own = replace(run, records=told)
    policy = run.policy(nearest_record(own, weights), device=device, dtype=dtype)
    served = replace(policy, weights=np.asarray(weights, dtype=np.float64))
    served.encode(["."])  # weights that cannot be said are an error now, not at the first prompt
    return served
