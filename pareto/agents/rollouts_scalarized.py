"""One dispatcher per preference, each taught by rollouts at its own: the upper bound that `gmorl_rollouts` is held against."""

from __future__ import annotations

from typing import Literal

from pareto.agents.dispatching import Job, SeparateDispatchers
from pareto.agents.rollout_learning import RolloutConfig, RolloutLearning
from pareto.methods import METHODS


@METHODS.register(
    "rollouts_scalarized",
    source="ours; the comparison called multi-policy of Yang et al. (2025), taught by rollouts",
)
class ScalarizedRollouts(SeparateDispatchers):
    """Train an independent dispatcher for each weight vector by rollouts; every weight is a job.

    Args:
        rollouts: how each learns.

    Source: ours, with the networks, the start and the labels of `gmorl_rollouts`.
    """

    name: Literal["rollouts_scalarized"] = "rollouts_scalarized"
    rollouts: RolloutConfig = RolloutConfig()

    def learning(self, job: Job) -> RolloutLearning:
        """Rollouts, before the first."""
        return RolloutLearning(job, self.rollouts)
