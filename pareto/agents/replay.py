"""Transitions to learn from again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class Replay:
    """The last K transitions of vector observations and vector rewards.

    Args:
        capacity: K.
        d: length of an observation.
        m: objectives.
    """

    def __init__(self, capacity: int, d: int, m: int) -> None:
        self.observations = torch.zeros(capacity, d)
        self._actions = torch.zeros(capacity, dtype=torch.int64)
        self._rewards = torch.zeros(capacity, m)
        self._after = torch.zeros(capacity, d)
        self._over = torch.zeros(capacity, dtype=torch.bool)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, len(self._over))

    def add(
        self,
        seen: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        after: np.ndarray,
        terminated: np.ndarray,
    ) -> None:
        """Take in one step of E copies; the oldest transitions make room.

        Args:
            seen: [E, d] acted on.
            actions: [E].
            rewards: [E, m].
            after: [E, d] what truly followed.
            terminated: [E] bool; an episode that was only cut off goes on for the learner.
        """
        at = torch.from_numpy((self._count + np.arange(len(actions))) % len(self._over))
        pairs = (
            (self.observations, seen),
            (self._actions, actions),
            (self._rewards, rewards),
            (self._after, after),
            (self._over, terminated),
        )
        for held, new in pairs:
            held[at] = torch.from_numpy(np.ascontiguousarray(new)).to(held.dtype)
        self._count += len(actions)

    def sample(self, n: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """N transitions with replacement: observations, actions, rewards, next observations, terminated."""
        at = torch.randint(len(self), (n,), generator=draw)
        held = (self.observations, self._actions, self._rewards, self._after, self._over)
        return tuple(part[at] for part in held)  # type: ignore[return-value]  # five of them

    def state(self) -> dict[str, Tensor]:
        """Everything that `load` takes back; rows that hold nothing yet are left out."""
        held = {name: part[: len(self)].clone() for name, part in self._parts().items()}
        return {**held, "count": torch.tensor(self._count)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self._count = int(tensors["count"])
        for name, part in self._parts().items():
            part[: len(self)] = tensors[name]

    def _parts(self) -> dict[str, Tensor]:
        held = (self.observations, self._actions, self._rewards, self._after, self._over)
        return dict(zip(("observations", "actions", "rewards", "after", "over"), held))
