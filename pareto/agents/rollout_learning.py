"""A dispatcher learns from what its choices led to: policy iteration by rollouts, put into one network."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from pareto import rng
from pareto.agents.dispatching import Job
from pareto.agents.foresight import Foresight
from pareto.agents.schedule import linear
from pareto.config import Config
from pareto.errors import ConfigError, NumericsError
from pareto.models.actors.dispatcher import DispatcherActor
from pareto.models.dispatching import Seen, look, make_scorer, policy_logits, reward_scales


class RolloutConfig(Config):
    """How a dispatcher learns from rollouts.

    Args:
        total_steps: decisions in all, those of rollouts included.
        copies: episodes side by side in a round.
        states: states of a slot whose choices are all tried.
        every: slots between such slots.
        horizon: slots a choice is followed, at most to the end of the episode.
        gamma: discount of what is seen there; scores are not discounted.
        explore: share of decisions in a round that are random, so that more is seen than the policy itself would see.
        contexts: options of the training environments in place of the task's own; see `DispatchConfig`.
        memory: rounds held; labels of older ones are those of older policies.
        updates: gradient steps after each round.
        batch: states per gradient step.
        encoder: "set" takes any number of servers in any order; "padded" is the paper's fixed width.
        hidden: width of the network.
        lr: learning rate at the start; it falls linearly to `lr_end` times that.
        lr_end: see above.
        huber: errors larger than this, in scaled cost, count linearly.
        max_norm: largest gradient norm.
        checkpoint_every: rounds between checkpoints.

    Source: ours; found on development seeds of six edge servers.
    """

    total_steps: int = Field(default=16_000_000, ge=1)
    copies: int = Field(default=256, ge=1)
    states: int = Field(default=64, ge=1)
    every: int = Field(default=2, ge=1)
    horizon: int = Field(default=100, ge=1)
    gamma: float = Field(default=0.98, gt=0, le=1)
    explore: float = Field(default=0.15, ge=0, le=1)
    contexts: Mapping[str, Any] | None = None
    memory: int = Field(default=8, ge=1)
    updates: int = Field(default=400, ge=1)
    batch: int = Field(default=512, ge=1)
    encoder: Literal["set", "padded"] = "set"
    hidden: int = Field(default=64, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    lr_end: float = Field(default=0.05, ge=0, le=1)
    huber: float = Field(default=0.3, gt=0)
    max_norm: float = Field(default=1.0, gt=0)
    checkpoint_every: int = Field(default=1, ge=1)

    env_steps_per_s: ClassVar[float] = 16_000.0
    """Hardly any decision is learned from: 8,000 to 23,000 with six to nine servers on a thread that was shared."""


class RolloutLearning:
    """One dispatcher in training.

    A round plays episodes with the present policy and asks in some of their states what every choice would lead to when
    the same policy goes on. The network learns the differences, so that taking the best choice by what it says and by the
    cost charged at once is the next policy: one step of policy iteration per round, at all preferences together.

    Args:
        job: what it is trained for.
        config: how it learns.
    """

    def __init__(self, job: Job, config: RolloutConfig) -> None:
        self.job, self.config = job, config
        self.scales = reward_scales()
        self.training = job.training(config.contexts, workers=0)
        choices = self.training.facts.observations.shape[0]
        self.servers = max(job.task.facts.observations.shape[0], choices)
        self.draw = torch.Generator().manual_seed(rng.derive_seed("rollout learning", *job.name))
        self.scorer = make_scorer(config.encoder, config.hidden, 1, self.servers, self.draw).to(job.device)
        self.adam = torch.optim.Adam(self.scorer.parameters(), lr=config.lr)
        self.done, self.steps, self.loss = 0, 0, 0.0
        self.envs = self.training.open(config.copies)
        branches = self.training.open(config.states * choices)
        self.foresight = Foresight(branches, choices, config.horizon, config.gamma)
        self.memory: deque[tuple[Seen, Tensor]] = deque(maxlen=config.memory)

    @property
    def finished(self) -> bool:
        """Whether all decisions are taken."""
        return self.steps >= self.config.total_steps

    def step(self) -> None:
        """Play one episode in every copy and look ahead on the way, then learn."""
        draw = rng.generator("rollout round", *self.job.name, self.done)
        self.memory.append(self._played(draw))
        for _ in range(self.config.updates):
            self._update(linear(1.0, self.config.lr_end, self.steps / self.config.total_steps))
        self.done += 1

    def figures(self) -> dict[str, Any]:
        """The last gradient step's loss."""
        return {"loss": self.loss}

    def _played(self, draw: np.random.Generator) -> tuple[Seen, Tensor]:
        """States of one round and what their choices led to."""
        config, n = self.config, self.config.copies
        weights = self.job.preferences(draw, n)
        observations = self.envs.reset([int(s) for s in draw.integers(2**62, size=n)])
        found, first = [], int(draw.integers(config.every))
        before = self.foresight.steps
        for t in range(1_000_000):
            seen = look(observations, weights, self.scales)
            if t % config.every == first:
                found.append(self._labelled(seen, weights, draw))
            there = seen.present.numpy()
            anything = (draw.random(there.shape) * there).argmax(axis=1)
            chosen = np.where(draw.random(n) < config.explore, anything, self._best(seen))
            step = self.envs.step(chosen)
            observations = step.observations
            self.steps += n
            if (step.terminated | step.truncated).any():
                break
        if not (step.terminated | step.truncated).all():
            raise ConfigError(f"episodes of {self.training.id} must all take equally many decisions")
        self.steps += self.foresight.steps - before
        states, worths = zip(*found)
        return Seen(*(torch.cat(parts) for parts in zip(*states))), torch.cat(worths)

    def _labelled(self, seen: Seen, weights: np.ndarray, draw: np.random.Generator) -> tuple[Seen, Tensor]:
        """Some states with a task, and what their choices would lead to."""
        saved = self.envs.state_dict()
        if saved is None:
            raise ConfigError(
                f"rollouts need an environment whose state can be copied; {self.training.id}'s cannot"
            )
        busy = np.flatnonzero(seen.features[:, 0, 0] > 0)  # the size of the task
        pool, k = busy if len(busy) else np.arange(len(weights)), self.foresight.states
        rows = draw.choice(pool, size=k, replace=len(pool) < k)
        some = seen.rows(torch.from_numpy(rows))
        futures = self.foresight.futures(saved, rows, some.present.numpy(), weights[rows], self.choose)
        worths = torch.from_numpy((futures / self.scales * weights[rows][:, None]).sum(-1)).float()
        return some, centred(worths, some.present)

    def choose(self, observations: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The present policy's servers [n] for observations [n, S, F] under weights [n, 2]."""
        return self._best(look(observations, weights, self.scales))

    @torch.no_grad()
    def _best(self, seen: Seen) -> np.ndarray:
        return policy_logits(self.scorer, seen.to(self.job.device), 1.0).argmax(dim=1).cpu().numpy()

    def _update(self, rate: float) -> None:
        """One gradient step towards the labels of a batch."""
        config = self.config
        self.adam.param_groups[0]["lr"] = config.lr * rate
        sizes = torch.tensor([len(worths) for _, worths in self.memory])
        which = torch.randint(int(sizes.sum()), (config.batch,), generator=self.draw)
        parts = [
            (seen.rows(own), worths[own])
            for (seen, worths), start, size in zip(self.memory, sizes.cumsum(0) - sizes, sizes)
            if len(own := which[(which >= start) & (which < start + size)] - start)
        ]
        seen = Seen(*(torch.cat(p) for p in zip(*(s for s, _ in parts)))).to(self.job.device)
        wanted = torch.cat([w for _, w in parts]).to(self.job.device)
        said = centred(self.scorer(seen.features, seen.present)[..., 0], seen.present)
        errors = F.smooth_l1_loss(said, wanted, beta=config.huber, reduction="none")
        loss = (errors.sum(1) / seen.present.sum(1)).mean()
        if not bool(torch.isfinite(loss)):
            raise NumericsError(f"the loss is not finite; lower method.rollouts.lr (now {config.lr})")
        self.adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.scorer.parameters(), config.max_norm)
        self.adam.step()
        self.loss = float(loss.detach())

    def actor(self, weights: np.ndarray) -> DispatcherActor:
        """The present policy at some weights."""
        shape = {"encoder": self.config.encoder, "hidden": self.config.hidden, "servers": self.servers}
        return DispatcherActor(self.scorer.cpu(), shape, self.scales, weights)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, facts) that `load` takes back. Environments begin anew in every round, so they need no storing."""
        tensors = {f"scorer.{k}": v for k, v in self.scorer.state_dict().items()}
        for j, moments in self.adam.state_dict()["state"].items():
            tensors |= {f"adam.{j}.{k}": v for k, v in moments.items()}
        for i, (seen, worths) in enumerate(self.memory):
            tensors |= {f"memory.{i}.{k}": v for k, v in {**seen._asdict(), "worths": worths}.items()}
        facts = {"done": self.done, "steps": self.steps, "rounds": len(self.memory)}
        return {**tensors, "draw": self.draw.get_state()}, facts

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.done, self.steps = int(facts["done"]), int(facts["steps"])
        self.draw.set_state(tensors["draw"])
        own = {k.removeprefix("scorer."): v for k, v in tensors.items() if k.startswith("scorer.")}
        self.scorer.load_state_dict(own)
        saved: dict[str, Any] = self.adam.state_dict()
        for name, value in tensors.items():
            if name.startswith("adam."):
                j, k = name.split(".")[1:]
                saved["state"].setdefault(int(j), {})[k] = value
        self.adam.load_state_dict(saved)
        self.memory.clear()
        for i in range(int(facts["rounds"])):
            seen = Seen(*(tensors[f"memory.{i}.{k}"] for k in Seen._fields))
            self.memory.append((seen, tensors[f"memory.{i}.worths"]))

    def close(self) -> None:
        """Let go of the environments."""
        self.envs.close()
        self.foresight.envs.close()


def centred(values: Tensor, present: Tensor) -> Tensor:
    """[n, S] less the mean over the servers that are there; 0 where there is none."""
    mask = present.to(values.dtype)
    mean = (values * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
    return (values - mean) * mask
