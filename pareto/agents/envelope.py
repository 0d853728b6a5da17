"""Envelope Q-learning: one network of value vectors for all weights, backed up along the envelope of what it knows."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.agents.conditioning import ConditionedTask
from pareto.agents.ppo_conditioned import store_conditioned
from pareto.agents.replay import Replay
from pareto.agents.schedule import linear
from pareto.agents.seeds import PerSeed
from pareto.agents.value_network import ValueNetwork
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.errors import ConfigError, NumericsError
from pareto.methods import METHODS


@METHODS.register(
    "envelope", source="Yang et al. (2019), A generalized algorithm for MORL, NeurIPS, Algorithm 1"
)
class Envelope(PerSeed):
    """Learn Q(s, a, w) in R^m for all weights at once; see `envelope_targets` for what is new beside Q-learning.

    Discrete actions only. Transitions are learned from under weights drawn afresh, whatever weights they were taken under.
    The run holds the network at each of the study's weights; `pareto steer --method conditioned` takes any others. A job
    that is killed starts over.

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
        shown = ConditionedTask(task, self.corners)
        draw = torch.Generator().manual_seed(rng.derive_seed("envelope", cell.seed))
        m, d = len(task.objectives), task.facts.observations.shape[0]
        online = ValueNetwork(d, m, task.facts.actions.size, self.hidden, draw)
        target = online.twin()
        adam = torch.optim.Adam(online.parameters(), lr=self.lr)
        replay = Replay(self.replay, d, m)
        rounds, learned = max(1, self.total_steps // self.copies), 0
        with shown.open(self.copies, max_episode_steps=self.max_episode_steps) as envs:
            seen = envs.reset([rng.derive_seed("training", cell.seed, i) for i in range(self.copies)])
            for t in range(rounds):
                steps = t * self.copies
                share = steps / self.total_steps
                epsilon = 1.0 if steps < self.warmup else linear(self.epsilon, self.epsilon_end, 2 * share)
                chosen = online.choose(torch.from_numpy(seen), epsilon, draw)
                step = envs.step(chosen)
                replay.add(seen[:, :d], chosen, step.rewards, step.final_observations[:, :d], step.terminated)
                seen = step.observations
                if steps < self.warmup:
                    online.fit_scale(replay.observations[: len(replay)])
                    continue
                while learned * self.every < steps - self.warmup:
                    if learned % self.renew == 0:
                        target = online.twin()
                    loss = self._loss(online, target, replay, task.discount, share, draw)
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                    learned += 1
                if t % 64 == 0 or t == rounds - 1:
                    figures = {"env_steps": steps, "epsilon": epsilon}
                    context.progress(t + 1, rounds, figures)
        if not all(bool(torch.isfinite(p).all()) for p in online.parameters()):
            raise NumericsError(f"the network is not finite any more; lower method.lr (now {self.lr})")
        policies = store_conditioned(online.stored(), cell, task, context.folder, values=True)
        return Fitted(policies, Cost(env_steps=rounds * self.copies))

    def _loss(
        self,
        online: ValueNetwork,
        target: ValueNetwork,
        replay: Replay,
        gamma: float,
        share: float,
        draw: torch.Generator,
    ) -> Tensor:
        """Vector and scalar error of one batch, in the shares of the homotopy."""
        seen, actions, rewards, after, over = replay.sample(self.batch, draw)
        weights = -torch.log(torch.rand(self.draws, rewards.shape[1], generator=draw).clamp_min(1e-12))
        weights = weights / weights.sum(
            dim=1, keepdim=True
        )  # exponentials over their sum: uniform on the simplex
        with torch.no_grad():
            picked, valued = online.grid(after, weights), target.grid(after, weights)
            best = envelope_targets(picked, valued, weights)
            aims = rewards[:, None] + gamma * (~over).float()[:, None, None] * best
        found = online.grid(seen, weights)
        own = found[torch.arange(len(actions)), :, actions]
        error = own - aims
        scalar = (error * weights).sum(dim=-1)
        mix = self.homotopy * share
        return (1 - mix) * error.square().mean() + mix * scalar.square().mean()


def envelope_targets(picked: Tensor, valued: Tensor, weights: Tensor) -> Tensor:
    """The value vector that is best for each weight among those of all actions under all weights.

    (T Q)(s, a, w) = r + gamma arg_Q max_{a', w'} w.Q(s', a', w'): a policy for w may be learned from what is known of
    another w'.

    Args:
        picked: [B, W, A, m] Q(s', ., w') of the network that chooses.
        valued: [B, W, A, m] of the network whose values are taken (double Q-learning).
        weights: [W, m].

    Returns:
        [B, W, m], one vector per state and weight.

    Source: Yang et al. (2019), Eq. 6.
    """
    b, w, a, m = picked.shape
    scores = torch.einsum("bvam,wm->bwva", picked, weights).reshape(b, w, w * a)
    best = scores.argmax(dim=-1)
    return valued.reshape(b, w * a, m).gather(1, best[..., None].expand(b, w, m))
