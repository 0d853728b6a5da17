"""Acting in many copies of an environment with a whole population at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.agents.networks import Networks
from pareto.agents.normalise import CLIP, Running
from pareto.agents.returns import Window
from pareto.tasks.env.vectors import Step, VectorEnvs


@dataclass(frozen=True)
class Rollout:
    """T steps of P policies in E copies each.

    Args:
        observations: [T, P, E, d] float32, scaled as the networks see them.
        actions: [T, P, E, ...].
        rewards: [T, P, E, m] float32.
        ended: [T, P, E] bool, terminated or cut off.
        last: [P, E, d] observations after the last step.
        cut: (t, p, e) index arrays of episodes that were cut off without being over.
        cut_observations: [k, d] their last observations.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    ended: Tensor
    last: Tensor
    cut: tuple[np.ndarray, np.ndarray, np.ndarray]
    cut_observations: Tensor


class Scaler:
    """How raw observations become the networks' inputs: (x - mean) / std of everything the policy has seen, cut at +-10.

    Args:
        running: statistics of the population, [P, d]; a policy that has seen nothing passes observations on as they are.

    Source: the running normalisation of PPO's reference code and of C-MORL. Bounds of a space are no substitute: minecart's
    speed has bounds of 1 and stays below 0.06.
    """

    def __init__(self, running: Running) -> None:
        self.running = running
        self.refresh()

    def add(self, raw: Tensor) -> None:
        """Learn from raw observations [P, B, d]."""
        self.running.add(raw)
        self.refresh()

    def __call__(self, raw: Tensor) -> Tensor:
        """Inputs [P, B, d] float32 from raw observations [P, B, d] float32."""
        return ((raw - self._offset) * self._scale).clamp_(-CLIP, CLIP)

    def each(self, raw: Tensor, policy: Tensor) -> Tensor:
        """Inputs [k, d] from single raw observations [k, d], each scaled as its policy [k] does."""
        return ((raw - self._offset[policy, 0]) * self._scale[policy, 0]).clamp_(-CLIP, CLIP)

    def refresh(self) -> None:
        """Take up the running statistics."""
        seen = self.running.count > 1
        self._offset = torch.where(seen, self.running.mean, 0.0).float()[:, None]
        self._scale = torch.where(seen, 1 / self.running.std, 1.0).float()[:, None]


TOLERANCE = 1e-6
"""A budget is reached when what is spent comes this close to it: sums of the same rewards differ in their last digits."""


@dataclass(frozen=True)
class HardBudget:
    """What the episodes of every policy may spend.

    Args:
        objective: whose discounted sum falls as it is spent.
        limits: [P] the sum at which an episode is over.
    """

    objective: int
    limits: np.ndarray


class Collector:
    """The population's copies of the environment and the episodes that are under way in them.

    Args:
        envs: P * E copies, policy p in copies p E .. (p + 1) E - 1.
        n_policies: P.
        gamma: discount of the recorded returns.
        window: how many finished episodes are remembered per policy.
        m: objectives.
        seed: of the copies.
        budget: hard budgets of the episodes, or None.
    """

    def __init__(
        self,
        envs: VectorEnvs,
        n_policies: int,
        gamma: float,
        window: int,
        m: int,
        seed: int,
        budget: HardBudget | None = None,
    ) -> None:
        self.budget = budget
        self.envs, self.n_policies, self.gamma = envs, n_policies, gamma
        self.n_envs = envs.copies // n_policies
        self.window = Window.begin(n_policies, window, m)
        self.returns = np.zeros((envs.copies, m))
        self.discount = np.ones(envs.copies)
        self.lengths = np.zeros(envs.copies, dtype=np.int64)
        self.begin(seed)

    def begin(self, seed: int) -> None:
        """Start an episode in every copy."""
        seeds = [rng.derive_seed(seed, i) for i in range(self.envs.copies)]
        self.raw = self._shaped(self.envs.reset(seeds))
        self.returns[:], self.discount[:], self.lengths[:] = 0.0, 1.0, 0

    def resume(self, observations: np.ndarray) -> None:
        """Go on from observations of copies that were put back into an earlier state."""
        self.raw = self._shaped(observations)

    def collect(
        self, networks: Networks, views: dict[str, Tensor], scaler: Scaler, steps: int, draw: torch.Generator
    ) -> Rollout:
        """Act for some steps in every copy."""
        p, e = self.n_policies, self.n_envs
        observations, actions, rewards, ended = [], [], [], []
        cut_t, cut_copy, cut_raw, raws = [], [], [], []
        with torch.no_grad():
            for t in range(steps):
                seen = scaler(self.raw)
                chosen = networks.head.sample(networks.actor(views, seen), views, draw)
                raws.append(self.raw)
                step = self._within_budget(self.envs.step(chosen.flatten(0, 1).numpy()))
                over = step.terminated | step.truncated
                self._count(step.rewards, over)
                lost = np.flatnonzero(step.truncated & ~step.terminated)
                if len(lost):
                    cut_t.append(np.full(len(lost), t))
                    cut_copy.append(lost)
                    cut_raw.append(step.final_observations[lost])
                observations.append(seen)
                actions.append(chosen)
                rewards.append(step.rewards)
                ended.append(over)
                self.raw = self._shaped(step.observations)
            where = np.concatenate(cut_copy) if cut_copy else np.zeros(0, dtype=np.int64)
            cut_p, cut_e = np.divmod(where, e)
            final = self._final(cut_raw, cut_p, scaler)
            last = scaler(self.raw)
            scaler.add(torch.cat(raws, dim=1))
        return Rollout(
            torch.stack(observations),
            torch.stack(actions),
            torch.from_numpy(np.stack(rewards).astype(np.float32, copy=False)).view(steps, p, e, -1),
            torch.from_numpy(np.stack(ended)).view(steps, p, e),
            last,
            (np.concatenate(cut_t) if cut_t else where, cut_p, cut_e),
            final,
        )

    def _final(self, raw: list[np.ndarray], policy: np.ndarray, scaler: Scaler) -> Tensor:
        """Scaled last observations [k, d] of episodes that were cut off."""
        if not raw:
            return torch.zeros(0, self.raw.shape[-1])
        rows = torch.from_numpy(np.concatenate(raw).astype(np.float32)).flatten(1)
        return scaler.each(rows, torch.from_numpy(policy))

    def _within_budget(self, step: Step) -> Step:
        """End the episodes whose spending has reached their budget; the step that overdraws it earns nothing."""
        if self.budget is None:
            return step
        j = self.budget.objective
        spent = self.returns[:, j] + self.discount * step.rewards[:, j]
        overdrawn = spent <= np.repeat(self.budget.limits, self.n_envs) + TOLERANCE
        if not overdrawn.any():
            return step
        rewards = step.rewards.copy()
        rewards[np.ix_(overdrawn, np.arange(rewards.shape[1]) != j)] = 0.0
        broken = overdrawn & ~(step.terminated | step.truncated)
        observations = self.envs.restart(broken) if broken.any() else step.observations
        return step._replace(
            observations=observations, rewards=rewards, terminated=step.terminated | overdrawn
        )

    def _count(self, reward: np.ndarray, over: np.ndarray) -> None:
        self.returns += self.discount[:, None] * reward
        self.discount *= self.gamma
        self.lengths += 1
        done = np.flatnonzero(over)
        if len(done):
            self.window.add(done // self.n_envs, self.returns[done], self.lengths[done])
            self.returns[done], self.discount[done], self.lengths[done] = 0.0, 1.0, 0

    def _shaped(self, observations: np.ndarray) -> Tensor:
        array = np.asarray(observations, dtype=np.float32)
        return torch.from_numpy(array).view(self.n_policies, self.n_envs, -1)
