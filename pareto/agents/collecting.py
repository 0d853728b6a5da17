"""Acting in many copies of an environment with a whole population at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.agents.networks import Networks
from pareto.agents.normalise import CLIP, Bounds, Running
from pareto.agents.returns import Window
from pareto.tasks.env.vectors import VectorEnvs


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
    """How raw observations become the networks' inputs, per policy.

    Parts with finite bounds map onto [-1, 1]; the others are normalised by the running statistics of their policy.

    Args:
        bounds: of the observation space.
        running: statistics of the population, [P, d].
    """

    def __init__(self, bounds: Bounds, running: Running) -> None:
        self.bounds, self.running = bounds, running
        self.learns = not bool(bounds.finite.all())
        self.refresh()

    def add(self, raw: Tensor) -> None:
        """Learn from raw observations [P, B, d]; nothing to learn where all parts are bounded."""
        if self.learns:
            self.running.add(raw)
            self.refresh()

    def __call__(self, raw: Tensor) -> Tensor:
        """Inputs [P, B, d] float32 from raw observations [P, B, d] float32."""
        scaled = (raw - self._offset) * self._scale
        return scaled.clamp_(-CLIP, CLIP) if self.learns else scaled

    def each(self, raw: Tensor, policy: Tensor) -> Tensor:
        """Inputs [k, d] from single raw observations [k, d], each scaled as its policy [k] does."""
        scaled = (raw - self._offset[policy, 0]) * self._scale[policy, 0]
        return scaled.clamp_(-CLIP, CLIP) if self.learns else scaled

    def of(self, p: int) -> tuple[np.ndarray, np.ndarray]:
        """(offset [d], scale [d]) of one policy."""
        return self._offset[p, 0].numpy(), self._scale[p, 0].numpy()

    def refresh(self) -> None:
        """Take up the running statistics."""
        finite = torch.as_tensor(self.bounds.finite)
        known = self.running.count > 1
        mean = torch.where(known, self.running.mean, 0.0)
        scale = torch.where(known, 1 / self.running.std, 1.0)
        self._offset = torch.where(finite, torch.as_tensor(self.bounds.offset), mean).float()[:, None]
        self._scale = torch.where(finite, torch.as_tensor(self.bounds.scale), scale).float()[:, None]


class Collector:
    """The population's copies of the environment and the episodes that are under way in them.

    Args:
        envs: P * E copies, policy p in copies p E .. (p + 1) E - 1.
        n_policies: P.
        gamma: discount of the recorded returns.
        window: how many finished episodes are remembered per policy.
        m: objectives.
        seed: of the copies.
    """

    def __init__(
        self, envs: VectorEnvs, n_policies: int, gamma: float, window: int, m: int, seed: int
    ) -> None:
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
                step = self.envs.step(chosen.flatten(0, 1).numpy())
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
