"""Any weights, served by the weight-conditioned policy of a one-run front."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.conditioned_agent import serve_agent
from pareto.steer.conditioned_export import serving_record
from pareto.steer.soup import refuse_outside


@STEERERS.register("conditioned", source="this suite; the policy was trained over sampled weights")
def conditioned(
    run: PolicySet, weights: np.ndarray, *, extrapolate: bool = False, device: str = "cpu", **options: Any
) -> Any:
    """Serve weights by telling them to the model; every row of a batch may have its own.

    Nothing is mixed: the model was trained to be the best policy of every weight vector. Of several seeds it is that of the
    policy whose own weights are nearest.

    Args:
        run: the policy set, made by `modpo_conditioned`, or by `ppo_conditioned` or `envelope` for agents.
        weights: [m], checked.
        extrapolate: must be false.
        device: where to compute.
        options: none are known.

    Returns:
        a `MixedPolicy`, or an `AgentPolicy`.

    Raises:
        UsageError: an option is given, or the run has no conditioned policy.
        ArtifactError: a file of the policy is missing, changed or does not fit.
    """
    refuse_outside("conditioned", extrapolate, "no weights outside the simplex were trained")
    if options:
        raise UsageError(f"steering method 'conditioned' takes no options; got {', '.join(sorted(options))}")
    if (agent := serve_agent(run, weights)) is not None:
        return agent
    if (record := serving_record(run, weights)) is None:
        raise UsageError(
            f"no policy of {run.folder} is weight-conditioned; train one with method modpo_conditioned (agents: ppo_conditioned, envelope), or steer with 'nearest'"
        )
    from pareto.models.conditioned import read_conditioned
    from pareto.models.conditioned_mixture import ConditionedMixture
    from pareto.models.fingerprint import tokenizer_fingerprint
    from pareto.models.mixed_policy import MixedPolicy

    policy = run.policy(record)
    names = read_conditioned(run.folder / "policies" / record.id).objectives
    order = [run.objectives.index(name) for name in names]
    files = [f"{name}={sha256}" for name, sha256 in sorted(record.files.items()) if name != "policy.json"]
    identity = ["conditioned", tokenizer_fingerprint(policy.tokenizer), str(policy.model.dtype), *files]
    mixed = MixedPolicy(
        ConditionedMixture(policy.model.to(device)).eval(),
        policy.tokenizer,
        run.objectives,
        weights,
        lambda w: w[order],
        "conditioned",
        names,
        hashlib.sha256("\n".join(identity).encode()).hexdigest(),
    )
    mixed.rows(None, 1)
    return mixed
