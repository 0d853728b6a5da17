"""Tables of sets of value vectors: what is known of a deterministic environment, state by state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Key = bytes
"""A state: the bytes of its encoded observation."""


def undominated(values: np.ndarray) -> np.ndarray:
    """The rows of [k, m] that no other row dominates, each once, sorted."""
    rows = np.unique(values, axis=0)
    worse = (rows[None] >= rows[:, None]).all(axis=-1) & (rows[None] > rows[:, None]).any(axis=-1)
    return rows[~worse.any(axis=-1)]


class _Way(NamedTuple):
    """One way to earn a vector in a state: an action, and which vector of the next state then."""

    value: np.ndarray
    action: int
    after: np.ndarray


class ValueSets:
    """Q(s, a) = r(s, a) + gamma ND(s'), where ND(s') are the undominated vectors of all Q(s', .).

    Args:
        n_actions: of every state.
        m: objectives.
        gamma: discount.

    Source: Van Moffaert and Nowe (2014), Eqs. 3-5: mean immediate rewards and sets of later ones are kept apart.
    """

    def __init__(self, n_actions: int, m: int, gamma: float) -> None:
        self.n_actions, self.m, self.gamma = n_actions, m, gamma
        self.rewards: dict[tuple[Key, int], tuple[np.ndarray, int]] = {}
        self.after: dict[tuple[Key, int], Key | None] = {}
        self.observations: dict[Key, np.ndarray] = {}
        self.sets: dict[Key, np.ndarray] = {}

    def learn(self, state: Key, action: int, reward: np.ndarray, following: Key | None) -> None:
        """Take in one transition; `following` is None where the episode was over.

        A state that was never left counts as worth zero, which draws the search there where rewards are negative.
        """
        mean, n = self.rewards.get((state, action), (np.zeros(self.m), 0))
        self.rewards[state, action] = (mean + (reward - mean) / (n + 1), n + 1)
        self.after[state, action] = following
        found = undominated(np.concatenate([self.q(state, a) for a in self.tried(state)]))
        old = self.sets.get(state)
        if old is None or not np.array_equal(found, old):  # the same object says that nothing changed
            self.sets[state] = found

    def q(self, state: Key, action: int, unknown: int = 1) -> np.ndarray:
        """Q(state, action) [k, m]; a next state of which nothing is known counts as so many vectors of zeros."""
        following = self.after[state, action]
        known = np.zeros((1, self.m)) if following is None else self.sets.get(following)
        return self.rewards[state, action][0] + self.gamma * (
            np.zeros((unknown, self.m)) if known is None else known
        )

    def tried(self, state: Key) -> list[int]:
        """Actions that were taken there."""
        return [a for a in range(self.n_actions) if (state, a) in self.rewards]

    def solve(self, horizon: int) -> None:
        """Work all sets out anew from what was seen: the values of all ways to an end of at most so many steps."""
        states = {state for state, _ in self.rewards}
        self.sets = {state: np.zeros((0, self.m)) for state in states}
        for _ in range(horizon):
            found = {
                state: undominated(np.concatenate([self.q(state, a, unknown=0) for a in self.tried(state)]))
                for state in states
            }
            same = all(np.array_equal(found[state], self.sets[state]) for state in states)
            self.sets = found
            if same:
                return

    def policy(self, start: Key, value: np.ndarray) -> dict[Key, int]:
        """The deterministic policy that earns a vector of the set of `start`, after `solve`: state -> action on its way."""
        chosen: dict[Key, int] = {}
        state: Key | None = start
        while state is not None and state not in chosen:
            ways = [
                _Way(self.rewards[state, a][0] + self.gamma * after, a, after)
                for a in self.tried(state)
                for after in self._after(state, a)
            ]
            best = min(ways, key=lambda way: float(np.abs(way.value - value).sum()))
            chosen[state], value = best.action, best.after
            state = self.after[state, best.action]
        return chosen

    def state(self) -> dict[str, Tensor]:
        """Everything that `load` takes back, of one state at least."""
        number = {key: i for i, key in enumerate(self.observations)}
        ways = list(self.rewards)
        sets = [self.sets.get(key) for key in number]
        found = {
            "observations": np.stack(list(self.observations.values())),
            "states": np.array([number[state] for state, _ in ways], dtype=np.int64),
            "actions": np.array([action for _, action in ways], dtype=np.int64),
            "means": np.array([self.rewards[way][0] for way in ways]).reshape(len(ways), self.m),
            "counts": np.array([self.rewards[way][1] for way in ways], dtype=np.int64),
            "after": np.array([-1 if (key := self.after[way]) is None else number[key] for way in ways]),
            "sizes": np.array([-1 if rows is None else len(rows) for rows in sets], dtype=np.int64),
            "sets": np.concatenate([np.zeros((0, self.m)), *(rows for rows in sets if rows is not None)]),
        }
        return {name: torch.from_numpy(rows) for name, rows in found.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        held = {name: tensor.numpy() for name, tensor in tensors.items()}
        self.observations = {row.tobytes(): row for row in held["observations"]}
        keys = list(self.observations)
        for state, action, mean, n, after in zip(
            *(held[name] for name in ("states", "actions", "means", "counts", "after"))
        ):
            way = keys[state], int(action)
            self.rewards[way] = mean, int(n)
            self.after[way] = None if after < 0 else keys[after]
        ends = np.maximum(held["sizes"], 0).cumsum()
        for key, size, end in zip(keys, held["sizes"], ends):
            if size >= 0:
                self.sets[key] = held["sets"][end - size : end]

    def _after(self, state: Key, action: int) -> np.ndarray:
        following = self.after[state, action]
        return np.zeros((1, self.m)) if following is None else self.sets.get(following, np.zeros((0, self.m)))
