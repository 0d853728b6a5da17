"""GMORL's network, taught by rollouts in place of critics."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pareto.agents.dispatching import Job, SharedDispatcher, spread_preferences
from pareto.agents.rollout_learning import RolloutConfig, RolloutLearning
from pareto.methods import METHODS


@METHODS.register(
    "gmorl_rollouts",
    source="ours; rollouts (Tesauro and Galperin 1996) for the network of Yang et al. (2025)",
)
class GMORLRollouts(SharedDispatcher):
    """Train one dispatcher that sees its preference by trying every choice and seeing what it leads to.

    What a choice changes is a few seconds of delay under a noise of hundreds, which a critic must average out. Here every
    choice of a state is followed through the same arrivals and channels, where nearly all noise cancels, and the network of
    `gmorl` learns the differences: policy iteration at all preferences together, from the greedy rule on. It needs an
    environment whose state can be copied; what is stored is a dispatcher like that of `gmorl`.

    Args:
        rollouts: how it learns, and in which systems.
        power: the weight of delay in an episode is u^power, u spread evenly over [0, 1]; see `gmorl`.

    Source: ours. Classification-based policy iteration (Lagoudakis and Parr 2003) and expert iteration (Anthony et al. 2017)
    learn from rollouts in like manner, the best choice where this one learns how much better it is.
    """

    name: Literal["gmorl_rollouts"] = "gmorl_rollouts"
    rollouts: RolloutConfig = RolloutConfig()
    power: float = Field(default=2.5, gt=0)

    def learning(self, job: Job) -> RolloutLearning:
        """Rollouts, before the first."""
        return RolloutLearning(job, self.rollouts)

    def preferences(self, draw: np.random.Generator, n: int) -> np.ndarray:
        """[n, 2] weights of (delay, energy), one in each of n strata."""
        return spread_preferences(draw, n, self.power)
