"""An environment as a task: seeds for choosing and seeds for reporting, true returns, exact fronts where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from pareto import rng
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.errors import ConfigError
from pareto.front import hypervolume
from pareto.models.actors import Actor, load_actor
from pareto.objectives import Objectives
from pareto.tasks import TASKS
from pareto.tasks.env.episodes import Episodes, Watch, play
from pareto.tasks.env.facts import EnvFacts, describe, fastest, limited
from pareto.tasks.env.opening import open_envs
from pareto.tasks.env.sources import Source
from pareto.tasks.env.vectors import VectorEnvs
from pareto.tasks.protocol import Scores

_FUNCTIONS: dict[str, Source] = {}
"""Name -> function that makes an environment, for tasks on objects in memory."""


@TASKS.register(
    "env", source="gymnasium (Towers et al. 2024); vector rewards as in MO-Gymnasium (Felten et al. 2023)"
)
class EnvTask(Config):
    """An environment with vector rewards.

    A policy's values are its mean discounted returns over episodes. Every episode has a seed of its own, the same for every
    policy; the seeds of the splits and those of training are different streams.

    Args:
        id: id of an environment of this suite, of MO-Gymnasium, or "module:Env-v0".
        options: keyword arguments of the environment.
        names: of the objectives ("cost:min" is minimised); None takes the environment's own.
        gamma: discount of the returns; None takes the environment's own.
        max_episode_steps: time limit of scored episodes; None keeps the environment's own.
        selection_episodes: episodes of the split that choices may rest on.
        heldout_episodes: episodes of the split that is reported.
        seed: another seed is another set of scored episodes.
        workers: processes that share the copies; worth it for environments that need more than 0.2 ms a step.
    """

    kind: Literal["env"] = "env"
    id: str
    options: Mapping[str, Any] = {}
    names: tuple[str, ...] | None = None
    gamma: float | None = Field(default=None, gt=0, le=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    selection_episodes: int = Field(default=20, ge=1)
    heldout_episodes: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0, le=256)

    @model_validator(mode="after")
    def _exists(self) -> EnvTask:
        if self.gamma is None and self.facts.gamma is None:
            raise ValueError(f"{self.id} does not say its discount; give task.gamma")
        return self

    @cached_property
    def facts(self) -> EnvFacts:
        """What the environment says of itself."""
        return describe(self._source, self.options, self.names)

    @property
    def objectives(self) -> Objectives:
        """The objectives, in the order of the reward vector."""
        return self.facts.objectives

    @property
    def discount(self) -> float:
        """The discount of the returns."""
        found = self.gamma if self.gamma is not None else self.facts.gamma
        assert found is not None
        return found

    @classmethod
    def remember(cls, name: str, env_fn: Source) -> None:
        """Let tasks of this process name an environment that a function makes."""
        _FUNCTIONS[name] = env_fn

    @property
    def _source(self) -> Source:
        return fastest(_FUNCTIONS.get(self.id, self.id))

    def open(self, copies: int, *, max_episode_steps: int | None = None, render: bool = False) -> VectorEnvs:
        """Copies to learn in.

        Args:
            copies: how many.
            max_episode_steps: time limit; None takes the task's own.
            render: make the first copy able to draw itself.
        """
        limit = max_episode_steps if max_episode_steps is not None else self.max_episode_steps
        source, options = self._source, dict(self.options)
        if limit is not None and callable(source):
            source = limited(source, limit)
        elif limit is not None:
            options["max_episode_steps"] = limit
        return open_envs(
            source,
            copies,
            options=options,
            objectives=self.names,
            workers=self.workers,
            render=render,
        )

    def episode_seeds(self, split: str) -> list[int]:
        """Seeds of the episodes of a split."""
        n = self.heldout_episodes if split == "heldout" else self.selection_episodes
        return [rng.derive_seed("episode", split, self.seed, i) for i in range(n)]

    def prerequisites(self) -> Mapping[str, Cell]:
        """None: an environment needs nothing made before."""
        return {}

    def build(self, name: str, cell: Cell, context: FitContext) -> Fitted:
        """Nothing is ever asked for, since there are no prerequisites."""
        raise ConfigError(f"an environment has no prerequisites; got {name!r}")

    @property
    def longest(self) -> int:
        """Steps of the longest scored episode; 0 where nothing limits them."""
        return self.max_episode_steps or self.facts.limit or 0

    def score_price(self) -> Cost:
        """Steps of both splits' episodes, were each as long as it may be."""
        return Cost(
            selection_env_steps=self.selection_episodes * self.longest,
            scoring_env_steps=self.heldout_episodes * self.longest,
        )

    def score(
        self,
        policy: Path,
        kind: str,
        weights: Mapping[str, float] | None,
        split: str,
        needs: Mapping[str, Path],
    ) -> Scores:
        """Discounted returns of whole episodes, one row per episode."""
        played = self.play(load_actor(policy), split)
        ids = np.array([f"{split}-{i}" for i in range(len(played.returns))])
        counted = "scoring_env_steps" if split == "heldout" else "selection_env_steps"
        facts = {"episode_steps": float(played.lengths.mean())} if split == "heldout" else {}
        return Scores(
            self.objectives.orient(played.returns), ids, split, facts, Cost(**{counted: played.steps})
        )

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        """The first n held-out episodes as trajectories."""
        if n == 0:
            return []
        actions: list[list[Any]] = [[] for _ in range(n)]
        rewards: list[list[list[float]]] = [[] for _ in range(n)]

        def watch(taken: np.ndarray, given: np.ndarray, playing: np.ndarray, over: np.ndarray) -> None:
            for i in np.flatnonzero(playing):
                actions[i].append(taken[i].tolist())
                rewards[i].append(self.objectives.orient(given[i]).tolist())

        seeds = self.episode_seeds("heldout")[:n]
        played = self.play(load_actor(policy), "heldout", seeds, watch)
        return [
            {
                "prompt": f"episode {i}",
                "response": " ".join(map(str, actions[i])),
                "actions": actions[i],
                "rewards": rewards[i],
                "returns": self.objectives.named(self.objectives.orient(value)),
            }
            for i, value in enumerate(played.returns)
        ]

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> Mapping[str, Any] | None:
        """The exact front over deterministic policies, where the environment can work it out."""
        find = self.facts.pareto_front
        front = None if find is None else find(self.discount)
        if front is None:
            return None
        return {
            "source": "dynamic programming",
            "gamma": self.discount,
            "front": front,
            "hypervolume": hypervolume(self.objectives.orient(front), self.objectives.orient(ref_point)),
        }

    def play(
        self,
        actor: Actor,
        split: str,
        seeds: Sequence[int] | None = None,
        watch: Watch | None = None,
    ) -> Episodes:
        """Episodes of an actor on the seeds of a split.

        Args:
            actor: the policy.
            split: "selection" or "heldout"; also names the stream that drawn actions come from.
            seeds: in place of the split's own.
            watch: see `pareto.tasks.env.episodes.play`.
        """
        seeds = self.episode_seeds(split) if seeds is None else seeds
        draw = rng.generator("episode actions", split, self.seed)
        with self.open(len(seeds)) as envs:
            return play(envs, lambda seen: actor.act(seen, draw), seeds, self.discount, watch=watch)
