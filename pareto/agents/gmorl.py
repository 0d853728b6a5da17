"""GMORL: one dispatcher for every preference and every edge system."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.discrete_sac import SACConfig
from pareto.agents.dispatch_learning import DispatchConfig, DispatchLearning, checked, store
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.methods import FITTERS, METHODS
from pareto.policy_set import PolicySet


@METHODS.register("gmorl", source="Yang, Wen, Zhang, Tang (2025), IEEE TSC, arXiv 2509.10474, Algorithm 1")
class GMORL(Config):
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

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        checked(task)
        spec = {
            "method": self.model_dump(mode="json"),
            "task": task.model_dump(mode="json"),
            "weights": [task.objectives.named(task.objectives.vector(w)) for w in weights],
        }
        return [Cell("policy", "method", spec, seed=seed) for seed in seeds]

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the dispatcher of one seed and store it at every weight."""
        learning = DispatchLearning(
            task,
            self.experience,
            self.sac,
            self.preferences,
            seed=cell.seed,
            stage="gmorl",
            device=context.device,
        )
        learning.run(context)
        policies = store(learning, list(enumerate(cell.spec["weights"])), cell, task, context.folder)
        return Fitted(policies, Cost(env_steps=learning.steps))

    def preferences(self, draw: np.random.Generator, n: int) -> np.ndarray:
        """[n, 2] weights of (delay, energy), one in each of n strata."""
        return spread_preferences(draw, n, self.power)

    def fit(self, env_fn: Callable[[], Any], **options: Any) -> PolicySet:
        """Train in offloading systems made by a function; see `pareto.study.fitting.env.fit_env` for the options.

        Args:
            env_fn: makes one environment with the observations of `pareto/Offloading-v0`.
            options: weights, seed, out, gamma, ref_point, ...
        """
        return FITTERS.get("env")(self, env_fn, **options)


def spread_preferences(draw: np.random.Generator, n: int, power: float) -> np.ndarray:
    """[n, 2] weights of (delay, energy), that of delay u^power with one u in each of n strata of [0, 1]."""
    delay = ((np.arange(n) + draw.random(n)) / n) ** power
    return np.column_stack([delay, 1.0 - delay])
