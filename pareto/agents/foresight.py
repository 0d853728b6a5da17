"""What choices lead to: the same state goes on once per choice, through the same chance, by the same policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from pareto.errors import ConfigError
from pareto.tasks.env.vectors import VectorEnvs

Act = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(observations [n, ...], weights [n, m]) -> actions [n]."""


@final
class Foresight:
    """Copies in which chosen states play on.

    Branches of one state share their random streams, so that what chance does to all of them alike drops out of their
    differences; where chance does not depend on the actions, as arrivals do not, nothing else is left of it.

    Args:
        envs: copies to play in; a multiple of `choices` of them.
        choices: K discrete actions.
        horizon: steps looked ahead, at most to the end of the episode.
        gamma: what a reward counts less per step that it comes later: far ones say little of the choice and much of chance.

    Raises:
        ConfigError: copies that cannot be shared out.

    Source: rollouts of Tesauro and Galperin (1996); common random numbers as in Kahn and Marshall (1953).
    """

    def __init__(self, envs: VectorEnvs, choices: int, horizon: int, gamma: float = 1.0) -> None:
        if envs.copies % choices or horizon < 1:
            raise ConfigError(
                f"expected a multiple of {choices} copies and a horizon of at least 1; got {envs.copies} and {horizon}"
            )
        self.envs, self.choices, self.horizon, self.gamma = envs, choices, horizon, gamma
        self.states = envs.copies // choices
        self.steps = 0

    def futures(
        self, saved: dict[str, np.ndarray], rows: np.ndarray, there: np.ndarray, weights: np.ndarray, act: Act
    ) -> np.ndarray:
        """Sum up the rewards after each choice, its own left out.

        Args:
            saved: the environments' `state_dict`.
            rows: [states] copies to start from.
            there: [states, K] bool, choices that exist; the others go by the state's first that does.
            weights: [states, m] of each.
            act: how to go on.

        Returns:
            [states, K, m] discounted rewards of the steps after the choice; the choice's own would count once.
        """
        which, k = np.repeat(rows, self.choices), self.choices
        own = np.repeat(weights, k, axis=0)
        self.envs.load_state_dict({name: part[which] for name, part in saved.items()})
        choices = np.where(there, np.arange(k), there.argmax(axis=1)[:, None]).reshape(-1)
        step = self.envs.step(choices)
        total, worth = np.zeros_like(step.rewards), 1.0
        self.steps += len(which)
        for _ in range(self.horizon):
            if (step.terminated | step.truncated).any():
                break
            step = self.envs.step(act(step.observations, own))
            worth *= self.gamma
            total += worth * step.rewards
            self.steps += len(which)
        return total.reshape(len(rows), k, -1)
