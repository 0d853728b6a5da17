"""One dispatcher per preference: the many-policy upper bound that GMORL is held against."""

from __future__ import annotations

from typing import Literal

from pareto.agents.discrete_sac import SACConfig
from pareto.agents.dispatch_learning import DispatchConfig, DispatchLearning
from pareto.agents.dispatching import Job, SeparateDispatchers
from pareto.methods import METHODS


@METHODS.register("sac_scalarized", source="Yang et al. (2025), section 5: multi-policy discrete SAC")
class ScalarizedSAC(SeparateDispatchers):
    """Train an independent dispatcher for each weight vector by discrete soft actor-critic; every weight is a job.

    Args:
        experience: of each policy.
        sac: how it learns.

    Source: Yang et al. (2025), the comparison called multi-policy; here with the networks and the start of `gmorl`.
    """

    name: Literal["sac_scalarized"] = "sac_scalarized"
    experience: DispatchConfig = DispatchConfig()
    sac: SACConfig = SACConfig()

    def learning(self, job: Job) -> DispatchLearning:
        """Soft actor-critic, untrained."""
        return DispatchLearning(job, self.experience, self.sac)
