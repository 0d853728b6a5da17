"""Any weights, shown to an agent's network that was trained to see them."""

from __future__ import annotations

import numpy as np

from pareto.models.actors import Conditioned
from pareto.models.kinds.agent import AgentPolicy
from pareto.policy_set import PolicySet
from pareto.steer.nearest import nearest_record


def serve_agent(run: PolicySet, weights: np.ndarray) -> AgentPolicy | None:
    """The agent of a run that sees weights, acting at the given ones; None where the run has none.

    Of several seeds it is that of the policy whose own weights are nearest.

    Args:
        run: the policy set, made by `ppo_conditioned`, `envelope`, `distilled` or `gmorl`.
        weights: [m], checked.

    Raises:
        ArtifactError: a file of the policy is missing or changed.
    """
    if not any(record.kind == "agent" and record.files for record in run.records):
        return None
    record = nearest_record(run, weights)
    if record.kind != "agent":
        return None
    policy = run.policy(record)
    if not isinstance(policy.actor, Conditioned):
        return None
    own = policy.actor.at(np.asarray(weights))
    return AgentPolicy(own, policy.observations, policy.actions, run.objectives)
