"""C-MORL as its released code does it, for comparison: the barrier has no gradient, and selection scores itself."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.agents.keeping import keep
from pareto.agents.learning import Networked
from pareto.agents.ppo import PPOConfig
from pareto.agents.released_search import ReleasedSearch
from pareto.agents.seeds import PerSeed, to_the_end
from pareto.cells import Cell, FitContext, Fitted
from pareto.methods import METHODS

OFFICIAL = PPOConfig(
    envs=8,
    steps=512,
    epochs=10,
    minibatch=128,
    lr=3e-4,
    lr_end=0.0,
    entropy=0.0,
    entropy_end=0.0,
    gae_lambda=0.95,
    gamma=0.995,
)
"""Of the released code: 8 x 512 steps an update, 32 minibatches, 10 epochs, learning rate to 0 over the first stage; values
are discounted by 0.995 in every environment."""


@METHODS.register(
    "cmorl_released", source="RuohLiuq/C-MORL, commit 67473b5, morl/run.py and cmorl-ipo scripts"
)
class ReleasedCMORL(PerSeed):
    """The released C-MORL code, re-implemented in this harness for comparison; use `cmorl` for C-MORL as published.

    First stage: a policy per weight vector, PPO whose learning rate falls to 0. Second stage: the most crowded-out policies
    of the archive are copied once per objective and go on for that objective alone at the learning rate that the first
    stage ended with. The code's barrier term, log(ratio x mean return - beta x mean return) / t, has an expected gradient of
    exactly zero (and none at all for negative returns), so it does not steer anything: it is left out here. The archive
    holds mean returns of the same few episodes that are played again and again; nothing is re-scored before the end.

    Args:
        total_steps: true environment steps, evaluation included. The code takes 8 times its nominal ones.
        initial_steps: of the first stage.
        evaluate_every: updates between evaluations in the first stage. Code: 10, or 1 where episodes are short.
        episodes: per evaluation; the same seeds each time. Code: 5 or 10.
        n: policies selected per round. Code: 5 for two objectives, 6 for more.
        update_iter: updates per round. Code: 20.
        max_episode_steps: time limit. Code: 500.
        buffer: size of the archive. Code: 200.
        policies: most policies kept at the end, those of largest crowding distance.
        window: finished training episodes remembered.
        ppo: how policies are improved.
        checkpoint_every: updates between checkpoints.

    Source: the released code. Differences: float32; Adam starts afresh in the second stage (its steps are 1e-6 there);
    values are not clipped; training environments are not re-seeded at every reset, which can only help; at most `policies`
    are kept, so that every method is scored on as many.
    """

    name: Literal["cmorl_released"] = "cmorl_released"
    total_steps: int = Field(default=1_000_000, ge=1)
    initial_steps: int = Field(default=667_000, ge=1)
    evaluate_every: int = Field(default=10, ge=1)
    episodes: int = Field(default=5, ge=1)
    n: int = Field(default=5, ge=1)
    update_iter: int = Field(default=20, ge=1)
    max_episode_steps: int | None = Field(default=500, ge=1)
    buffer: int = Field(default=200, ge=1)
    policies: int = Field(default=16, ge=1)
    window: int = Field(default=64, ge=1)
    ppo: PPOConfig = OFFICIAL
    checkpoint_every: int = Field(default=20, ge=1)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Search with one seed."""
        weights = np.array([task.objectives.vector(w) for w in cell.spec["weights"]])
        search = ReleasedSearch(self, Networked.of(task, self.ppo), weights, cell.seed)
        to_the_end(search, context, self.total_steps, checkpoint_every=self.checkpoint_every, log_every=1)
        return keep(search.networked, search.kept(), "mode", search.cost, cell, context)
