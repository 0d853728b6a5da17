"""The one face that training and evaluation see of any environment: many copies, stepped together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pareto.models.spaces import Actions, Observations
from pareto.objectives import Objectives


class Step(NamedTuple):
    """What one step of all copies brought.

    Args:
        observations: [E, ...] what the policy sees next; where an episode ended, the first of the next episode.
        rewards: [E, m] float64, turned so that larger is better in every objective.
        terminated: [E] bool, the episode ended by its own rules: there is nothing more to earn.
        truncated: [E] bool, the episode was cut off (time limit): value functions bootstrap from `final_observations`.
            Both may be true at the last allowed step; terminated then decides.
        final_observations: [E, ...] what each copy truly saw after its action: `observations` except where an episode
            ended. The same array as `observations` in steps in which none did.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observations: np.ndarray


class VectorEnvs(ABC):
    """E copies of an environment with vector rewards; `pareto.tasks.env.opening.open_envs` makes them.

    A copy whose episode ends starts its next one within the same step, and its random stream runs on: nothing is ever
    seeded again unless `reset` is called with a seed. One call of `step` costs E true environment steps, less the copies that
    rest.

    Attributes:
        copies: E.
        objectives: the m objectives, in the order of the rewards' columns, each with the direction its owner gave it.
        observations: shape and dtype of one encoded observation (float32 [d], or images as they are).
        actions: what `step` takes: int64 [E] from 0 for discrete actions, float32 [E, d] for continuous ones, where
            bounded axes span [-1, 1].
    """

    copies: int
    objectives: Objectives
    observations: Observations
    actions: Actions

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin an episode in every copy, each with its own seed.

        Args:
            seeds: [E] integers >= 0. Derive them by name (`pareto.rng.derive_seed`), so that training, selection and
                held-out episodes share none.

        Returns:
            Observations [E, ...].
        """

    @abstractmethod
    def restart(self, mask: np.ndarray) -> np.ndarray:
        """Break off the episodes of the copies in `mask` ([E] bool) and begin their next ones, without new seeds.

        Returns:
            Observations [E, ...] of all copies; only those in the mask have changed.
        """

    def step(self, actions: np.ndarray) -> Step:
        """Take one action in every copy.

        Args:
            actions: as `actions` of this class says; continuous ones outside [-1, 1] are clipped.

        Raises:
            ShapeError: a reward that is not a vector of m numbers.
            NumericsError: a reward that is not finite.
        """
        self.begin_step(actions)
        return self.end_step()

    @abstractmethod
    def begin_step(self, actions: np.ndarray) -> None:
        """Hand the actions out; `end_step` must follow. What runs elsewhere works in between."""

    @abstractmethod
    def end_step(self) -> Step:
        """Wait for the step begun last."""

    def rest(self, mask: np.ndarray) -> np.ndarray:
        """Let the copies in `mask` ([E] bool), and no others, sit out the steps to come, where copies can be stepped one by one.

        One that rests takes no action, earns nothing and ends nothing; its steps cost nothing. `reset` wakes all.

        Returns:
            [E] bool, those that rest: none where all copies can only be stepped together.
        """
        return np.zeros(self.copies, dtype=bool)

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """Everything that determines what comes next, or None where the environment cannot be stored.

        Where it is None, a resumed run equals an uninterrupted one only if both call `reset` with the same fresh seeds
        at the checkpoint.
        """
        return None

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """Go on from a `state_dict`; returns the observations [E, ...] there."""
        raise TypeError(f"{type(self).__name__} cannot be stored: its state_dict() is None")

    @abstractmethod
    def picture(self) -> np.ndarray:
        """The first copy drawn, [height, width, 3] uint8; only of what was opened with render=True."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back: windows, files, processes. Closing twice is fine."""

    def __enter__(self) -> VectorEnvs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
