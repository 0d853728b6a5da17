"""One network for all weights, trained by PPO on episodes of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.conditioning import ConditionedTask, ShownWeights
from pareto.agents.learning import Course, Learning, Networked, first_policies
from pareto.agents.ppo import PPOConfig
from pareto.agents.seeds import PerSeed, to_the_end
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.methods import METHODS
from pareto.models.actors import agent_facts
from pareto.models.actors.conditioned_mlp import ConditionedMLP
from pareto.models.actors.mlp import Deployed, MLPActor


@METHODS.register(
    "ppo_conditioned", source="Abels et al. (2019), conditioned networks; PPO as in D3PO, arXiv 2602.07764"
)
class ConditionedPPO(PerSeed):
    """Train one network that sees the weights beside the observation, by PPO on w.A.

    Every episode has weights of its own. The run holds the network at each of the study's weights, so that it can be
    measured there; `pareto steer --method conditioned` takes any others.

    Args:
        total_steps: environment steps of a job.
        corners: share of training episodes at single objectives; the others are uniform on the simplex.
        max_episode_steps: time limit while training. None keeps the task's.
        window: finished episodes whose mean return is reported while training.
        actions: how the policy acts afterwards.
        ppo: how it is improved; `envs` copies feed the one network, 64 where nothing of `ppo` is given.
        checkpoint_every: iterations between checkpoints.

    Source: Abels et al. (2019) for the network, Schulman et al. (2017) for the update. D3PO clips each objective's loss
    before weighing and adds a diversity term; this is the plain form.
    """

    name: Literal["ppo_conditioned"] = "ppo_conditioned"
    total_steps: int = Field(default=500_000, ge=1)
    corners: float = Field(default=0.25, ge=0, le=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    window: int = Field(default=64, ge=1)
    actions: Deployed = "mode"
    ppo: PPOConfig = PPOConfig(envs=64)
    checkpoint_every: int = Field(default=200, ge=1)

    def price(self, cell: Cell, task: Any) -> Cost:
        """Whole iterations, one at least."""
        each = self.ppo.envs * self.ppo.steps
        return Cost(env_steps=max(1, self.total_steps // each) * each)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the network of one seed and store it at every weight."""
        shown = ConditionedTask(task, self.corners)
        networked = Networked.of(shown, self.ppo)
        learning = Learning(
            networked,
            first_policies(networked, 1, cell.seed),
            ShownWeights(shown),
            self.ppo,
            max_episode_steps=self.max_episode_steps,
            window=self.window,
            seed=cell.seed,
            stage="conditioned",
        )
        course = Course(learning, self.total_steps)
        to_the_end(
            course, context, course.total * learning.steps_each, checkpoint_every=self.checkpoint_every
        )
        learning.store(0, self.actions, context.scratch / "network", {})
        network = MLPActor.load(context.scratch / "network", {"actions": self.actions})
        policies = store_conditioned(network, cell, task, context.folder)
        return Fitted(policies, Cost(env_steps=learning.steps))


def store_conditioned(
    network: MLPActor, cell: Cell, task: Any, folder: Path, *, values: bool = False
) -> tuple[PolicyFiles, ...]:
    """Store one network at each of a cell's weights.

    Args:
        network: over (observation, weights).
        cell: its spec names the weights.
        task: the environment.
        folder: of the cell.
        values: as for `ConditionedMLP`.
    """
    facts = agent_facts("conditioned_mlp", task.facts.observations, task.facts.actions)
    made = []
    for i, named in enumerate(cell.spec["weights"]):
        own = folder / f"{i:03d}"
        weights = np.asarray(task.objectives.vector(named))
        ConditionedMLP(network, weights, values=values).save(own, facts)
        made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", own, dict(named)))
    return tuple(made)
