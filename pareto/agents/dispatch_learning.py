"""A dispatcher learns: rounds of episodes in drawn contexts, then gradient steps, with everything a kill must not lose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pydantic import Field

from pareto import rng
from pareto.agents.discrete_sac import DiscreteSAC, SACConfig
from pareto.agents.dispatch_memory import DispatchMemory
from pareto.agents.dispatching import Job
from pareto.config import Config
from pareto.errors import ConfigError
from pareto.models.actors.dispatcher import DispatcherActor
from pareto.models.dispatching import look, reward_scales


class DispatchConfig(Config):
    """How much a dispatcher experiences, and of what.

    Args:
        total_steps: decisions in all.
        copies: episodes side by side in a round.
        updates: gradient steps after each round.
        contexts: options of the training environments in place of the task's own: domain randomisation, for instance
            {system: {kind: range, edges: [1, 8], max_edges: 10}}. None trains in the task's.
        replay: transitions held; at least a round's.
        ends: whether costs stop with an episode's last decision; otherwise the learner looks on beyond it.
        checkpoint_every: rounds between checkpoints.

    Source: Yang et al. (2025), Algorithm 1 and table 2: 64 copies, 10 updates a round, replay of 1e5, 4,000 rounds.
    """

    total_steps: int = Field(default=12_800_000, ge=1)
    copies: int = Field(default=256, ge=1)
    updates: int = Field(default=20, ge=1)
    contexts: Mapping[str, Any] | None = None
    replay: int = Field(default=204_800, ge=1)
    ends: bool = False
    checkpoint_every: int = Field(default=50, ge=1)

    @property
    def env_steps_per_s(self) -> float:
        """Time goes into gradient steps: 270 decisions a second with 80 of them for 256 episodes of 100 decisions."""
        return 84.0 * self.copies / self.updates


class DispatchLearning:
    """One dispatcher in training.

    Args:
        job: what it is trained for.
        config: how much it experiences.
        sac: how it learns.
    """

    def __init__(self, job: Job, config: DispatchConfig, sac: SACConfig) -> None:
        self.job, self.config = job, config
        self.scales = reward_scales()
        self.training = job.training(config.contexts)
        self.servers = max(job.task.facts.observations.shape[0], self.training.facts.observations.shape[0])
        self.draw = torch.Generator().manual_seed(rng.derive_seed("dispatch learning", *job.name))
        self.sac = DiscreteSAC(sac, self.servers, self.draw, job.device)
        self.done, self.steps, self.told = 0, 0, {}
        self.envs = self.training.open(config.copies)
        self.memory: DispatchMemory | None = None

    @property
    def finished(self) -> bool:
        """Whether all decisions are taken."""
        return self.steps >= self.config.total_steps

    def step(self) -> None:
        """Play one episode in every copy, then learn."""
        config, n = self.config, self.config.copies
        draw = rng.generator("dispatch round", *self.job.name, self.done)
        weights = self.job.preferences(draw, n)
        observations = self.envs.reset([int(s) for s in draw.integers(2**62, size=n)])
        states, actions, rewards = [look(observations, weights, self.scales)], [], []
        over = np.zeros(n, dtype=bool)
        while not over.any():
            actions.append(self._act(states[-1]))
            step = self.envs.step(actions[-1])
            rewards.append(step.rewards / self.scales)
            states.append(look(step.final_observations, weights, self.scales))
            over = step.terminated | step.truncated
        if not over.all():
            raise ConfigError(f"episodes of {self.training.id} must all take equally many decisions")
        length = len(actions)
        if self.memory is None:
            self.memory = DispatchMemory(max(1, config.replay // (length * n)))
        self.memory.add(states, actions, rewards)
        self.steps += length * n
        share = self.steps / config.total_steps
        for _ in range(config.updates):
            batch = self.memory.sample(self.sac.config.batch, self.draw, ends=config.ends)
            self.told = self.sac.update(batch.to(self.sac.device), share)
        self.done += 1

    def figures(self) -> dict[str, Any]:
        """What the last gradient step told."""
        return self.told

    @torch.no_grad()
    def _act(self, seen: Any) -> np.ndarray:
        """A server drawn from the policy for each copy, by the largest of its log-odds with Gumbel noise."""
        logits = self.sac.logits(seen.to(self.sac.device)).cpu()
        uniform = torch.rand(logits.shape, generator=self.draw).clamp_min(1e-12)
        return (logits - torch.log(-torch.log(uniform))).argmax(dim=1).numpy()

    def actor(self, weights: np.ndarray) -> DispatcherActor:
        """The present policy at some weights."""
        sac = self.sac.config
        shape = {"encoder": sac.encoder, "hidden": sac.hidden, "servers": self.servers}
        return DispatcherActor(self.sac.policy.cpu(), shape, self.scales, weights)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """(tensors, facts) that `load` takes back. Environments begin anew in every round, so they need no storing."""
        assert self.memory is not None
        memory = {f"memory.{k}": v for k, v in self.memory.state().items()}
        return {**self.sac.state(), **memory, "draw": self.draw.get_state()}, {
            "done": self.done,
            "steps": self.steps,
        }

    def load(self, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self.done, self.steps = int(facts["done"]), int(facts["steps"])
        self.sac.load({k: v for k, v in tensors.items() if not k.startswith("memory.")})
        self.draw.set_state(tensors["draw"])
        held = {k.removeprefix("memory."): v for k, v in tensors.items() if k.startswith("memory.")}
        self.memory = DispatchMemory(len(held["actions"]))
        self.memory.load(held)

    def close(self) -> None:
        """Let go of the environments."""
        self.envs.close()
