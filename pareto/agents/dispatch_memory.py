"""Whole episodes of dispatchers, as states and what was done in between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from pareto.agents.discrete_sac import Transitions
from pareto.models.dispatching import Seen


class DispatchMemory:
    """The last K rounds; a round is N episodes of L decisions that were played side by side.

    States are held once: a state is what follows one transition and what the next begins with.

    Args:
        rounds: K >= 1.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds, self.filled = rounds, 0
        self.states: Seen | None = None
        self._actions, self._rewards = torch.empty(0), torch.empty(0)

    def add(self, states: list[Seen], actions: list[np.ndarray], rewards: list[np.ndarray]) -> None:
        """Take in one round; the oldest one makes room.

        Args:
            states: L + 1 of n servers each, as they were before every decision and after the last.
            actions: L of [n].
            rewards: L of [n, 2], in units of the scales.
        """
        new = Seen(*(torch.stack(parts) for parts in zip(*states)))
        done = torch.from_numpy(np.stack(actions).astype(np.int64))
        given = torch.from_numpy(np.stack(rewards).astype(np.float32))
        if self.states is None:
            self.states = Seen(*(part.new_zeros((self.rounds, *part.shape)) for part in new))
            self._actions = done.new_zeros((self.rounds, *done.shape))
            self._rewards = given.new_zeros((self.rounds, *given.shape))
        at = self.filled % self.rounds
        for held, part in zip((*self.states, self._actions, self._rewards), (*new, done, given)):
            held[at] = part
        self.filled += 1

    def sample(self, n: int, draw: torch.Generator, *, ends: bool) -> Transitions:
        """N transitions, with replacement.

        Args:
            n: how many.
            draw: of which.
            ends: whether nothing comes after an episode's last decision, or the learner should look on.
        """
        assert self.states is not None, "add a round first"
        _, length, copies = self._actions.shape
        held = min(self.filled, self.rounds)
        which = torch.randint(held * length * copies, (n,), generator=draw)
        k, rest = which // (length * copies), which % (length * copies)
        t, i = rest // copies, rest % copies
        flat = Seen(*(part.flatten(0, 2) for part in self.states))
        before = (k * (length + 1) + t) * copies + i
        over = (t == length - 1) if ends else torch.zeros_like(t, dtype=torch.bool)
        return Transitions(
            flat.rows(before),
            self._actions[k, t, i],
            self._rewards[k, t, i],
            flat.rows(before + copies),
            over,
        )

    def state(self) -> dict[str, Tensor]:
        """Everything that `load` takes back."""
        if self.states is None:
            return {}
        parts = {**self.states._asdict(), "actions": self._actions, "rewards": self._rewards}
        return {**parts, "filled": torch.tensor(self.filled)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        self.filled = int(tensors["filled"])
        self.states = Seen(*(tensors[name].clone() for name in Seen._fields))
        self._actions, self._rewards = tensors["actions"].clone(), tensors["rewards"].clone()
