"""The one face that training and evaluation see of any environment: many copies, stepped together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pareto.errors import ConfigError, ShapeError
from pareto.objectives import Objectives
from pareto.tasks.env.spaces import Actions, Observations


@dataclass(frozen=True)
class Facts:
    """What is known of an environment besides its dynamics.

    Args:
        objectives: the m objectives, in the order of the rewards' columns, in the directions their owner gave them.
        observations: of one copy, and how they become arrays.
        actions: of one copy, and how policies' numbers become them.
        gamma: discount under which the literature reports it, or None.
        ref_point: [m] the reference point that goes with it, or None.
        max_episode_steps: its time limit, or None.
    """

    objectives: Objectives
    observations: Observations
    actions: Actions
    gamma: float | None = None
    ref_point: tuple[float, ...] | None = None
    max_episode_steps: int | None = None


class Moved(NamedTuple):
    """What one step of all copies brought.

    Args:
        observations: [E, ...] what comes next; the first of the next episode where one ended.
        rewards: [E, m] float64.
        terminated: [E] bool, over by its own rules.
        truncated: [E] bool, cut off.
        final: [E, ...] what each copy truly saw after its action.
    """

    observations: np.ndarray
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final: np.ndarray


class Copies(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """E copies of an environment with vector rewards, as gymnasium's `VectorEnv` with these habits.

    - Observations are float32 [E, d], or images as they are (`pareto.tasks.env.spaces.Observations`), and
      `single_observation_space` is the Box they lie in. Actions are integers [E] from 0, or float [E, d] in which bounded
      axes span [-1, 1] and are clipped to it (`Actions`).
    - Rewards are float64 [E, m], every objective in its own direction: multiply by `objectives.signs` to maximise.
      A reward that is no vector of m finite numbers is an error.
    - Autoreset mode SAME_STEP: a copy whose episode ends starts its next one in the same step. ``info["_final_obs"]``
      [E] bool then says which ended, ``info["final_obs"]`` [E, ...] holds what every copy truly saw after its action; both
      are absent from steps in which none ended. Values bootstrap from there where a copy was truncated and not
      terminated; both may be true at the last allowed step, and terminated then decides.
    - Random streams run on: nothing is seeded again unless `reset` is called with a seed. With one number s the copies
      get s, s + 1, ...; derive seeds by name (`pareto.rng.derive_seed`), so that training, selection and held-out episodes
      share none.
    - ``reset(options={"reset_mask": mask})`` breaks off the episodes of the copies in the mask and begins their next ones.
    - One call of `step` costs E true environment steps.

    Args:
        num_envs: E.
        facts: what is known of the environment.
    """

    def __init__(self, num_envs: int, facts: Facts) -> None:
        self.num_envs, self.facts = num_envs, facts
        self.objectives, self.gamma = facts.objectives, facts.gamma
        self.ref_point, self.max_episode_steps = facts.ref_point, facts.max_episode_steps
        self.single_observation_space, self.single_action_space = (
            facts.observations.encoded_space,
            facts.actions.plain_space,
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "render_modes": [],
            "autoreset_mode": AutoresetMode.SAME_STEP,
            "objectives": facts.objectives.to_json(),
        }
        self._begun = False

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode in every copy, or only in those of ``options["reset_mask"]`` ([E] bool).

        Args:
            seed: one seed >= 0 per copy, or one number s for s, s + 1, ...; None lets the streams run on.
            options: see above.

        Returns:
            Observations [E, ...] and an empty info.
        """
        mask = (options or {}).get("reset_mask")
        if mask is not None:
            if seed is not None:
                raise ConfigError("a masked reset lets the streams run on; expected seed None, got a seed")
            return self.restart(np.array(mask, dtype=bool)), {}
        if seed is None and self._begun:
            return self.restart(np.ones(self.num_envs, dtype=bool)), {}
        self._begun = True
        return self.start(self._seeds(seed)), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Take one action in every copy: observations, rewards, terminated, truncated, info.

        Raises:
            ShapeError: not one action per copy, or a reward that is not a vector of m numbers.
            NumericsError: a reward that is not finite.
        """
        self.begin_step(actions)
        moved = self.end_step()
        ended = moved.terminated | moved.truncated
        info = {"final_obs": moved.final, "_final_obs": ended} if ended.any() else {}
        return *moved[:4], info

    @abstractmethod
    def start(self, seeds: Sequence[int]) -> np.ndarray:
        """Begin an episode in every copy, each with its own seed; observations [E, ...]."""

    @abstractmethod
    def restart(self, mask: np.ndarray) -> np.ndarray:
        """Begin the next episode of the copies in the mask; observations [E, ...] of all copies."""

    @abstractmethod
    def begin_step(self, actions: np.ndarray) -> None:
        """Hand the actions out; `end_step` must follow. What runs elsewhere works in between."""

    @abstractmethod
    def end_step(self) -> Moved:
        """Wait for the step begun last."""

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """Everything that determines what comes next, or None where the environment cannot be stored.

        Where it is None, a resumed run equals an uninterrupted one only if both call `reset` with the same fresh seed
        at the checkpoint.
        """
        return None

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """Go on from a `state_dict`; returns the observations [E, ...] there."""
        raise TypeError(f"{type(self).__name__} cannot be stored: its state_dict() is None")

    def pareto_front(self, gamma: float) -> np.ndarray | None:
        """Exact front [k, m] of discounted returns over deterministic policies, or None where it is not known."""
        return None

    @abstractmethod
    def picture(self) -> np.ndarray:
        """The first copy drawn, [height, width, 3] uint8; only of what was opened with render=True."""

    def _seeds(self, seed: int | Sequence[int] | None) -> list[int]:
        if seed is None or isinstance(seed, int | np.integer):
            VectorEnv.reset(self, seed=None if seed is None else int(seed))
            first = self.np_random_seed
            assert first is not None
            return [first + i for i in range(self.num_envs)]
        seeds = [int(s) for s in seed]
        if len(seeds) != self.num_envs or min(seeds) < 0:
            raise ShapeError(
                f"expected {self.num_envs} seeds >= 0, one per copy; got {len(seeds)}: {seeds[:4]}"
            )
        return seeds
