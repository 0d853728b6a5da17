"""Weights between those that were trained for, served by mixing the action heads of one backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import nearest_record


@STEERERS.register("heads", source="Li et al. (2025), arXiv 2510.01167: mixed logits of the heads")
def heads(run: PolicySet, weights: np.ndarray, **options: Any) -> Any:
    """Serve any weights by the logits sum_j w_j W_j h of the heads of a run; at a corner exactly that head.

    The heads are merged once, in float32; every token then costs what it costs with one head. Of several seeds the heads are
    those of the policy whose own weights are nearest.

    Args:
        run: the policy set, made by `mah_dpo`.
        weights: [m], checked.
        options: none are known.

    Raises:
        UsageError: an option is given, or the run has no policy with heads.
        ArtifactError: a file of the policy is missing, changed or does not fit.
    """
    if options:
        raise UsageError(f"steering method 'heads' takes no options; got {', '.join(sorted(options))}")
    own = replace(run, records=tuple(r for r in run.records if r.kind == "heads" and r.weights is not None))
    if not own.records:
        raise UsageError(
            f"no policy of {run.folder} has action heads; train them with method mah_dpo, or steer with 'nearest'"
        )
    from pareto.models.mixed_heads import mix_heads, stored_objectives

    record = nearest_record(own, weights)
    policy = run.policy(record)
    folder = run.folder / "policies" / record.id
    order = [run.objectives.index(name) for name in stored_objectives(folder)]
    mix_heads(policy.model, folder, weights[order])
    return policy
