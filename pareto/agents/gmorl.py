"""GMORL: one dispatcher for every preference and every edge system."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pareto.agents.discrete_sac import SACConfig
from pareto.agents.dispatch_learning import DispatchConfig, DispatchLearning
from pareto.agents.dispatching import Job, SharedDispatcher, spread_preferences
from pareto.methods import METHODS


@METHODS.register("gmorl", source="Yang, Wen, Zhang, Tang (2025), IEEE TSC, arXiv 2509.10474, Algorithm 1")
class GMORL(SharedDispatcher):
    """Train one dispatcher that sees its preference, in systems drawn anew for every episode.

    Discrete soft actor-critic over episodes of spread preferences and random contexts. The run holds the network at each
    of the study's weights, so that it can be measured there; `pareto steer --method conditioned` takes any others.

    Args:
        experience: how much it experiences, and in which systems.
        sac: how it learns.
        power: the weight of delay in an episode is u^power, u spread evenly over [0, 1]: more than 1 puts more episodes
            where delay counts little and the front is long.

    Source: Yang et al. (2025). Differences: the encoder over sets (the paper's padding is `sac.encoder: padded`); the
    vector critic (the text has both, the algorithm the scalar one: `sac.critic: scalar`); policy and critics start from the
    one-step costs that the greedy rule uses; automatic temperature; networks of 60 kB; preferences jittered within their
    strata and denser near energy.
    """

    name: Literal["gmorl"] = "gmorl"
    experience: DispatchConfig = DispatchConfig()
    sac: SACConfig = SACConfig()
    power: float = Field(default=1.5, gt=0)

    def learning(self, job: Job) -> DispatchLearning:
        """Soft actor-critic, untrained."""
        return DispatchLearning(job, self.experience, self.sac)

    def preferences(self, draw: np.random.Generator, n: int) -> np.ndarray:
        """[n, 2] weights of (delay, energy), one in each of n strata."""
        return spread_preferences(draw, n, self.power)
