"""Environments that show a policy the weights it is to act by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pareto import rng
from pareto.agents.aims import Valued
from pareto.models.spaces import Observations
from pareto.tasks.env.vectors import Step, VectorEnvs


class WithWeights(VectorEnvs):
    """Copies whose observations end with weights, drawn anew for every episode.

    Args:
        inner: the copies, whose observations are vectors.
        corners: share of episodes whose weights are all on one objective; the others are uniform on the simplex.
    """

    def __init__(self, inner: VectorEnvs, corners: float) -> None:
        self.inner, self.copies, self.objectives = inner, inner.copies, inner.objectives
        self.observations, self.actions = _seen(inner.observations, len(inner.objectives)), inner.actions
        self.corners, self._seed = corners, 0
        self.episodes = np.zeros(self.copies, dtype=np.int64)
        self.weights = np.zeros((self.copies, len(inner.objectives)), dtype=np.float32)
        self.acted_by: list[np.ndarray] = []

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `VectorEnvs`; the weights depend on the first seed."""
        self._seed = int(seeds[0])
        self.episodes[:] = 0
        self._draw(np.ones(self.copies, dtype=bool))
        return self._with(self.inner.reset(seeds))

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        seen = self.inner.restart(mask)
        self._draw(mask)
        return self._with(seen)

    def begin_step(self, actions: np.ndarray) -> None:
        """See `VectorEnvs`."""
        self.acted_by.append(self.weights.copy())
        self.inner.begin_step(actions)

    def end_step(self) -> Step:
        """See `VectorEnvs`."""
        step = self.inner.end_step()
        final = self._with(step.final_observations)
        ended = step.terminated | step.truncated
        if ended.any():
            self._draw(ended)
        return step._replace(observations=self._with(step.observations), final_observations=final)

    def taken(self) -> Tensor:
        """[T * E, m] weights under which the steps since the last call were taken, in their order."""
        found = torch.from_numpy(np.concatenate(self.acted_by))
        self.acted_by = []
        return found

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `VectorEnvs`."""
        inner = self.inner.state_dict()
        if inner is None:
            return None
        own = {"weights": self.weights.copy(), "episodes": self.episodes.copy(), "seed": np.array(self._seed)}
        return own | {f"inner.{k}": v for k, v in inner.items()}

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `VectorEnvs`."""
        self.weights[:], self.episodes[:], self._seed = (
            saved["weights"],
            saved["episodes"],
            int(saved["seed"]),
        )
        inner = {k.removeprefix("inner."): v for k, v in saved.items() if k.startswith("inner.")}
        return self._with(self.inner.load_state_dict(inner))

    def picture(self) -> np.ndarray:
        """See `VectorEnvs`."""
        return self.inner.picture()

    def close(self) -> None:
        """See `VectorEnvs`."""
        self.inner.close()

    def _draw(self, mask: np.ndarray) -> None:
        m = self.weights.shape[1]
        for i in np.flatnonzero(mask):
            draw = rng.generator("weights of an episode", self._seed, int(i), int(self.episodes[i]))
            on_one = draw.random() < self.corners
            self.weights[i] = np.eye(m)[draw.integers(m)] if on_one else draw.dirichlet(np.ones(m))
            self.episodes[i] += 1

    def _with(self, seen: np.ndarray) -> np.ndarray:
        return np.concatenate([seen, self.weights], axis=1, dtype=np.float32)


@dataclass
class ConditionedTask:
    """A task whose copies show weights; `opened` are the copies it opened last."""

    task: Any
    corners: float
    opened: WithWeights | None = None

    @property
    def id(self) -> str:
        """Of the task."""
        return self.task.id

    @property
    def objectives(self) -> Any:
        """Of the task."""
        return self.task.objectives

    @property
    def discount(self) -> float:
        """Of the task."""
        return self.task.discount

    @property
    def facts(self) -> Any:
        """The task's, with the weights among the observations."""
        told = self.task.facts
        return replace(told, observations=_seen(told.observations, len(told.objectives)))

    def open(self, copies: int, *, max_episode_steps: int | None = None) -> VectorEnvs:
        """Copies that show weights."""
        self.opened = WithWeights(self.task.open(copies, max_episode_steps=max_episode_steps), self.corners)
        return self.opened


class ShownWeights(Valued):
    """Every sample counts by the weights under which it was taken: sum_j w_j A_j with w of that very step.

    Args:
        task: whose copies tell the weights.
    """

    def __init__(self, task: ConditionedTask) -> None:
        self._task = task

    def weigh(self, advantages: Tensor) -> Tensor:
        """w_j A_j of every sample, [1, N, m]."""
        assert self._task.opened is not None
        return advantages * self._task.opened.taken()[None]

    def coefficients(self, change: Tensor) -> Tensor:
        """Ones: the weights are in the advantages already."""
        return torch.ones_like(change)

    def state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load(self, state: Any) -> None:
        """Nothing changed."""


def _seen(observations: Observations, m: int) -> Observations:
    box = spaces.Box(-np.inf, np.inf, (observations.shape[0] + m,), dtype=np.float32)
    return Observations(box)
