"""Envelope Q-learning: one network of value vectors for all weights, backed up along the envelope of what it knows."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from pareto.agents.envelope_learning import EnvelopeLearning
from pareto.agents.ppo_conditioned import store_conditioned
from pareto.agents.seeds import PerSeed
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.errors import ConfigError, NumericsError
from pareto.methods import METHODS
from pareto.state.checkpoint import Checkpoints


@METHODS.register(
    "envelope", source="Yang et al. (2019), A generalized algorithm for MORL, NeurIPS, Algorithm 1"
)
class Envelope(PerSeed):
    """Learn Q(s, a, w) in R^m for all weights at once; see `envelope_targets` for what is new beside Q-learning.

    Discrete actions only. Transitions are learned from under weights drawn afresh, whatever weights they were taken under.
    The run holds the network at each of the study's weights; `pareto steer --method conditioned` takes any others.

    Args:
        total_steps: environment steps of a job.
        copies: of the environment.
        corners: share of episodes at single objectives.
        max_episode_steps: time limit while training. None keeps the task's.
        warmup: steps of random play before learning; they also fix the scale of observations.
        every: environment steps per gradient step.
        batch: transitions per gradient step.
        draws: weights per transition. Official code: 32.
        replay: transitions held.
        lr: learning rate of Adam.
        epsilon: share of random actions at the start; it falls linearly to `epsilon_end` over half of the steps.
        epsilon_end: see above.
        renew: gradient steps between copies of the network into its target.
        homotopy: share of the scalar loss at the end; it rises linearly from 0.
        hidden: widths of the hidden layers.
        checkpoint_every: steps of every copy between checkpoints.

    Source: Yang et al. (2019); tanh layers, epsilon, batch and sizes are from memory of the official code or ours.
    """

    name: Literal["envelope"] = "envelope"
    total_steps: int = Field(default=200_000, ge=1)
    copies: int = Field(default=16, ge=1)
    corners: float = Field(default=0.25, ge=0, le=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    warmup: int = Field(default=2_000, ge=1)
    every: int = Field(default=16, ge=1)
    batch: int = Field(default=64, ge=1)
    draws: int = Field(default=8, ge=1)
    replay: int = Field(default=100_000, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    epsilon: float = Field(default=1.0, ge=0, le=1)
    epsilon_end: float = Field(default=0.05, ge=0, le=1)
    renew: int = Field(default=200, ge=1)
    homotopy: float = Field(default=0.9, ge=0, le=1)
    hidden: tuple[int, ...] = (128, 128)
    checkpoint_every: int = Field(default=2_000, ge=1)

    def price(self, cell: Cell, task: Any) -> Cost:
        """Whole rounds of all copies, one at least."""
        return Cost(env_steps=max(1, self.total_steps // self.copies) * self.copies)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Learn with one seed and store the network at every weight.

        Raises:
            ConfigError: actions are not discrete.
            NumericsError: the loss is not finite.
        """
        if not task.facts.actions.discrete:
            raise ConfigError(
                f"envelope needs discrete actions; {task.id} has {task.facts.actions.space}; "
                "take ppo_conditioned, cmorl or pgmorl"
            )
        learning = EnvelopeLearning(self, task, cell.seed)
        checkpoints = Checkpoints(context.scratch)
        if (latest := checkpoints.latest()) is not None:
            learning.load(latest[1], latest[2])
        context.progress(learning.done, learning.total, {"env_steps": learning.done * self.copies})
        with learning.envs:
            while learning.done < learning.total:
                figures = {"env_steps": learning.done * self.copies, "epsilon": learning.epsilon}
                learning.round()
                done = learning.done
                if done % 64 == 1 or done == learning.total:
                    context.progress(done, learning.total, figures)
                if done % self.checkpoint_every == 0 and done < learning.total:
                    checkpoints.save(done, *learning.state())
        online = learning.online
        if not all(bool(torch.isfinite(p).all()) for p in online.parameters()):
            raise NumericsError(f"the network is not finite any more; lower method.lr (now {self.lr})")
        policies = store_conditioned(online.stored(), cell, task, context.folder, values=True)
        return Fitted(policies, Cost(env_steps=learning.total * self.copies))
