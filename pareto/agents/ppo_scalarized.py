"""One policy per weight vector, each trained on its own weighted sum, all of them at once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.aims import Weighted
from pareto.agents.learning import Course, Learning, Networked, first_policies
from pareto.agents.ppo import PPOConfig
from pareto.agents.seeds import PerSeed, to_the_end
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.methods import METHODS
from pareto.models.actors.mlp import Deployed


@METHODS.register(
    "ppo_scalarized", source="Schulman et al. (2017) on w.r; the baseline of C-MORL and of MORL in general"
)
class ScalarizedPPO(PerSeed):
    """Train an independent policy for each weight vector by PPO on the weighted sum of the rewards.

    All weights of a seed are one job: their networks are stacked and trained by the same batched operations. The critic
    estimates every objective, so that weights enter only the advantage w.A. Weighted sums find no policy inside a dent of
    the front.

    Args:
        total_steps: environment steps of a job, divided among its weights.
        max_episode_steps: time limit while training; a cut-off episode is bootstrapped. None keeps the task's.
        window: finished episodes whose mean return is reported while training.
        actions: how the policies act afterwards: the likeliest action, or drawn.
        ppo: how policies are improved.
        checkpoint_every: iterations between checkpoints.
    """

    name: Literal["ppo_scalarized"] = "ppo_scalarized"
    total_steps: int = Field(default=500_000, ge=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    window: int = Field(default=64, ge=1)
    actions: Deployed = "mode"
    ppo: PPOConfig = PPOConfig()
    checkpoint_every: int = Field(default=200, ge=1)

    def price(self, cell: Cell, task: Any) -> Cost:
        """Whole iterations, one at least."""
        each = len(cell.spec["weights"]) * self.ppo.envs * self.ppo.steps
        return Cost(env_steps=max(1, self.total_steps // each) * each)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the policies of one seed."""
        weights = np.array([task.objectives.vector(w) for w in cell.spec["weights"]])
        networked = Networked.of(task, self.ppo)
        learning = Learning(
            networked,
            first_policies(networked, len(weights), cell.seed),
            Weighted(weights),
            self.ppo,
            max_episode_steps=self.max_episode_steps,
            window=self.window,
            seed=cell.seed,
            stage="scalarized",
        )
        course = Course(learning, self.total_steps)
        to_the_end(
            course, context, course.total * learning.steps_each, checkpoint_every=self.checkpoint_every
        )
        made = []
        for i, named in enumerate(cell.spec["weights"]):
            folder = context.folder / f"{i:03d}"
            learning.store(i, self.actions, folder, {"weights": dict(named)})
            made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, dict(named)))
        return Fitted(tuple(made), Cost(env_steps=learning.steps))
