"""Tables of sets of value vectors: what is known of a deterministic environment, state by state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

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

    def _after(self, state: Key, action: int) -> np.ndarray:
        following = self.after[state, action]
        return np.zeros((1, self.m)) if following is None else self.sets.get(following, np.zeros((0, self.m)))
