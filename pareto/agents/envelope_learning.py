"""The learning of envelope Q-learning: one network of value vectors for all weights, from transitions taken under any."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pareto import rng
from pareto.agents.conditioning import ConditionedTask
from pareto.agents.replay import Replay
from pareto.agents.schedule import linear
from pareto.agents.value_network import ValueNetwork

if TYPE_CHECKING:
    from pareto.agents.envelope import Envelope

_ADAM = ("step", "exp_avg", "exp_avg_sq")


class EnvelopeLearning:
    """A job of learning, round by round; a round is one step in every copy of the environment and what is learned then.

    Args:
        config: how to learn.
        task: the environment.
        seed: of everything that is drawn.
    """

    def __init__(self, config: Envelope, task: Any, seed: int) -> None:
        self.config, self._seed, self._gamma = config, seed, task.discount
        self.total = max(1, config.total_steps // config.copies)
        self.done, self._learned = 0, 0
        self._draw = torch.Generator().manual_seed(rng.derive_seed("envelope", seed))
        m, self._d = len(task.objectives), task.facts.observations.shape[0]
        self.online = ValueNetwork(self._d, m, task.facts.actions.size, config.hidden, self._draw)
        self._target = self.online.twin()
        self._adam = torch.optim.Adam(self.online.parameters(), lr=config.lr)
        self._replay = Replay(config.replay, self._d, m)
        shown = ConditionedTask(task, config.corners)
        self.envs = shown.open(config.copies, max_episode_steps=config.max_episode_steps)
        self._begin()

    @property
    def epsilon(self) -> float:
        """Share of random actions in the next round."""
        steps = self.done * self.config.copies
        share = steps / self.config.total_steps
        return (
            1.0
            if steps < self.config.warmup
            else linear(self.config.epsilon, self.config.epsilon_end, 2 * share)
        )

    def round(self) -> None:
        """One step in every copy, and the gradient steps that are due."""
        config, steps = self.config, self.done * self.config.copies
        chosen = self.online.choose(torch.from_numpy(self._seen), self.epsilon, self._draw)
        step = self.envs.step(chosen)
        self._replay.add(
            self._seen[:, : self._d],
            chosen,
            step.rewards,
            step.final_observations[:, : self._d],
            step.terminated,
        )
        self._seen = step.observations
        self.done += 1
        if steps < config.warmup:
            self.online.fit_scale(self._replay.observations[: len(self._replay)])
            return
        while self._learned * config.every < steps - config.warmup:
            if self._learned % config.renew == 0:
                self._target = self.online.twin()
            loss = self._loss(steps / config.total_steps)
            self._adam.zero_grad()
            loss.backward()
            self._adam.step()
            self._learned += 1

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) that `load` takes back.

        Copies that cannot be stopped in the middle of an episode start new ones here, with or without a kill.
        """
        tensors = {f"online.{k}": v for k, v in self.online.state_dict().items()}
        tensors |= {f"target.{k}": v for k, v in self._target.state_dict().items()}
        tensors |= {f"replay.{k}": v for k, v in self._replay.state().items()}
        for i, parameter in enumerate(self.online.parameters()):
            moments = self._adam.state.get(parameter, {})
            tensors |= {f"adam.{i}.{name}": moments[name] for name in _ADAM if name in moments}
        stopped = self.envs.state_dict()
        if stopped is None:
            self._begin()
        else:
            tensors |= {f"env.{k}": torch.from_numpy(v) for k, v in stopped.items()}
        return {**tensors, "draw": self._draw.get_state()}, {"done": self.done, "learned": self._learned}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.done, self._learned = int(facts["done"]), int(facts["learned"])
        self._draw.set_state(tensors["draw"])
        self.online.load_state_dict(_below("online.", tensors))
        self._target.load_state_dict(_below("target.", tensors))
        self._replay.load(_below("replay.", tensors))
        for i, parameter in enumerate(self.online.parameters()):
            if moments := _below(f"adam.{i}.", tensors):
                self._adam.state[parameter] = moments
        if stopped := _below("env.", tensors):
            self._seen = self.envs.load_state_dict({k: v.numpy() for k, v in stopped.items()})
        else:
            self._begin()

    def _begin(self) -> None:
        """New episodes, which depend on how far the learning is."""
        name = ("training", self._seed, *([self.done] if self.done else []))
        self._seen = self.envs.reset([rng.derive_seed(*name, i) for i in range(self.config.copies)])

    def _loss(self, share: float) -> Tensor:
        """Vector and scalar error of one batch, in the shares of the homotopy."""
        config, draw = self.config, self._draw
        seen, actions, rewards, after, over = self._replay.sample(config.batch, draw)
        weights = -torch.log(torch.rand(config.draws, rewards.shape[1], generator=draw).clamp_min(1e-12))
        # exponentials over their sum: uniform on the simplex
        weights = weights / weights.sum(dim=1, keepdim=True)
        with torch.no_grad():
            picked, valued = self.online.grid(after, weights), self._target.grid(after, weights)
            best = envelope_targets(picked, valued, weights)
            aims = rewards[:, None] + self._gamma * (~over).float()[:, None, None] * best
        found = self.online.grid(seen, weights)
        error = found[torch.arange(len(actions)), :, actions] - aims
        scalar = (error * weights).sum(dim=-1)
        mix = config.homotopy * share
        return (1 - mix) * error.square().mean() + mix * scalar.square().mean()


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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
