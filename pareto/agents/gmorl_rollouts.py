"""GMORL's network, taught by rollouts in place of critics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from pareto.agents.dispatch_learning import checked, store
from pareto.agents.gmorl import spread_preferences
from pareto.agents.rollout_learning import RolloutConfig, RolloutLearning
from pareto.agents.seeds import PerSeed
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.methods import METHODS


@METHODS.register(
    "gmorl_rollouts",
    source="ours; rollouts (Tesauro and Galperin 1996) for the network of Yang et al. (2025)",
)
class GMORLRollouts(PerSeed):
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

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        checked(task)
        return super().plan(task, weights, seeds)

    def price(self, cell: Cell, task: Any) -> Cost:
        """What the settings say; the last round may go beyond it."""
        return Cost(env_steps=self.rollouts.total_steps)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the dispatcher of one seed and store it at every weight."""
        learning = RolloutLearning(
            task,
            self.rollouts,
            lambda draw, n: spread_preferences(draw, n, self.power),
            seed=cell.seed,
            stage="gmorl_rollouts",
            device=context.device,
        )
        learning.run(context)
        policies = store(learning, list(enumerate(cell.spec["weights"])), cell, task, context.folder)
        return Fitted(policies, Cost(env_steps=learning.steps))
