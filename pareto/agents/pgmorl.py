"""PGMORL: generations of policies whose tasks are chosen by predicted improvement."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.generations import Generations
from pareto.agents.keeping import keep
from pareto.agents.learning import Networked
from pareto.agents.ppo import PPOConfig
from pareto.agents.seeds import PerSeed, to_the_end
from pareto.cells import Cell, FitContext, Fitted
from pareto.methods import METHODS
from pareto.models.actors.mlp import Deployed


@METHODS.register("pgmorl", source="Xu et al. (2020), Prediction-guided MORL, ICML; mit-gfx/PGMORL")
class PGMORL(PerSeed):
    """Evolve a population: each generation trains those (policy, weights) pairs that promise most for the front.

    After a warm-up at the study's weights, every generation pairs the policies of a buffer spread over directions with
    weights near those they had, predicts for each pair where its returns will be, and trains the pairs that greedily
    maximise hypervolume + `sparsity` x sparsity of the predicted front. All iterates are candidates for the archive, judged
    as in `cmorl`: training returns screen them, fresh episodes decide. The kept policies carry no weights.

    Args:
        total_steps: true environment steps of training and selection together.
        warmup: iterations of the first generation. Official code: 80 of 2048 steps x 4 copies.
        generation: iterations of the later ones. Official code: 20.
        directions: of the performance buffer. Official code: 100.
        depth: policies held per direction. Official code: 2.
        delta: spacing of the weights that are tried. Official code: 0.2.
        nearest: of those, how many near a policy's last weights are tried for it. Official code: 7.
        sparsity: worth of the sparsity of the predicted front; negative asks for dense ones. Official code: -1.
        f_scale: of the robust fit, in ranges of the objectives. The official code's 20 is in MuJoCo's returns.
        max_episode_steps: time limit in training and selection. None keeps the task's.
        ppo: how policies are improved; the learning rate is not lowered over a generation, unless `ppo` is
            given in part without `lr_end: 1.0`.
        actions: how policies act when evaluated and afterwards.
        episodes: fresh episodes per candidate.
        verified: most candidates that get fresh episodes.
        z: standard errors below the mean that decide.
        window: finished training episodes that speak for an iterate.
        policies: most policies kept at the end.
        checkpoint_every: iterations between checkpoints.

    Source: Xu et al. (2020). Differences: iterates are screened by training returns where the official code plays one
    episode each; steps of selection are counted.
    """

    name: Literal["pgmorl"] = "pgmorl"
    total_steps: int = Field(default=500_000, ge=1)
    warmup: int = Field(default=80, ge=1)
    generation: int = Field(default=20, ge=1)
    directions: int = Field(default=100, ge=1)
    depth: int = Field(default=2, ge=1)
    delta: float = Field(default=0.2, gt=0, le=1)
    nearest: int = Field(default=7, ge=1)
    sparsity: float = -1.0
    f_scale: float = Field(default=1.0, gt=0)
    max_episode_steps: int | None = Field(default=None, ge=1)
    ppo: PPOConfig = PPOConfig(lr_end=1.0)
    actions: Deployed = "mode"
    episodes: int = Field(default=20, ge=1)
    verified: int = Field(default=24, ge=1)
    z: float = Field(default=1.0, ge=0)
    window: int = Field(default=64, ge=1)
    policies: int = Field(default=16, ge=1)
    checkpoint_every: int = Field(default=100, ge=1)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Evolve with one seed."""
        weights = np.array([task.objectives.vector(w) for w in cell.spec["weights"]])
        search = Generations(self, Networked.of(task, self.ppo), weights, cell.seed)
        to_the_end(search, context, self.total_steps, checkpoint_every=self.checkpoint_every)
        return keep(search.networked, search.verified(), self.actions, search.cost, cell, context)
