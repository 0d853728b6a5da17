"""One dispatcher per preference, each taught by rollouts at its own: the upper bound that `gmorl_rollouts` is held against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pareto.agents.dispatch_learning import checked, store
from pareto.agents.rollout_learning import RolloutConfig, RolloutLearning
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.methods import FITTERS, METHODS
from pareto.policy_set import PolicySet


@METHODS.register(
    "rollouts_scalarized",
    source="ours; the comparison called multi-policy of Yang et al. (2025), taught by rollouts",
)
class ScalarizedRollouts(Config):
    """Train an independent dispatcher for each weight vector by rollouts; every weight is a job.

    Args:
        rollouts: how each learns.

    Source: ours, with the networks, the start and the labels of `gmorl_rollouts`.
    """

    name: Literal["rollouts_scalarized"] = "rollouts_scalarized"
    rollouts: RolloutConfig = RolloutConfig()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per weight vector and seed."""
        checked(task)
        spec = {"method": self.model_dump(mode="json"), "task": task.model_dump(mode="json")}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        return [Cell("policy", "method", spec, {}, w, seed) for seed in seeds for w in named]

    def price(self, cell: Cell, task: Any) -> Cost:
        """What the settings say; the last round may go beyond it."""
        return Cost(env_steps=self.rollouts.total_steps)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train one dispatcher."""
        named = dict(cell.weights or {})
        own = np.asarray(task.objectives.vector(named))
        learning = RolloutLearning(
            task,
            self.rollouts,
            lambda draw, n: np.tile(own, (n, 1)),
            seed=cell.seed,
            stage="rollouts_scalarized",
            device=context.device,
        )
        learning.run(context)
        (made,) = store(learning, [(0, named)], cell, task, context.folder)
        return Fitted((made,), Cost(env_steps=learning.steps))

    def fit(self, env_fn: Callable[[], Any], **options: Any) -> PolicySet:
        """Train in offloading systems made by a function; see `pareto.study.fitting.env.fit_env` for the options.

        Args:
            env_fn: makes one environment with the observations of `pareto/Offloading-v0`.
            options: weights, seed, out, gamma, ref_point, ...
        """
        return FITTERS.get("env")(self, env_fn, **options)
