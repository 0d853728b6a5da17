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
from pareto.objectives import Objective, Objectives
from pareto.tasks import TASKS
from pareto.tasks.env.episodes import Episodes, play
from pareto.tasks.env.vectors import EnvFacts, describe, make_vectors
from pareto.tasks.protocol import Scores


@TASKS.register(
    "env", source="gymnasium (Towers et al. 2024); vector rewards as in MO-Gymnasium (Felten et al. 2023)"
)
class EnvTask(Config):
    """An environment with vector rewards, all of them maximised.

    A policy's values are its mean discounted returns over episodes. Every episode has a seed of its own, the same for every
    policy; the seeds of the splits and those of training are different streams.

    Args:
        id: id of an environment of this suite, of MO-Gymnasium, or "module:Env-v0".
        arguments: of the environment.
        names: of the objectives; None takes the environment's own.
        gamma: discount of the returns; None takes the environment's own.
        max_episode_steps: time limit of scored episodes; None keeps the environment's own.
        selection_episodes: episodes of the split that choices may rest on.
        heldout_episodes: episodes of the split that is reported.
        seed: another seed is another set of scored episodes.
    """

    kind: Literal["env"] = "env"
    id: str
    arguments: Mapping[str, Any] = {}
    names: tuple[str, ...] | None = None
    gamma: float | None = Field(default=None, gt=0, le=1)
    max_episode_steps: int | None = Field(default=None, ge=1)
    selection_episodes: int = Field(default=20, ge=1)
    heldout_episodes: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _exists(self) -> EnvTask:
        try:
            facts, objectives = self.facts, self.objectives
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if len(objectives) != len(facts.objectives):
            raise ValueError(
                f"{self.id} has {len(facts.objectives)} objectives; got names {list(objectives.names)}"
            )
        if self.gamma is None and facts.gamma is None:
            raise ValueError(f"{self.id} does not say its discount; give task.gamma")
        return self

    @cached_property
    def facts(self) -> EnvFacts:
        """What the environment says of itself."""
        return describe(self.id, self.arguments)

    @cached_property
    def objectives(self) -> Objectives:
        """The objectives, in the order of the reward vector."""
        own = self.facts.objectives
        if self.names is None:
            return own
        scales = [o.scale for o in own] if len(own) == len(self.names) else [1.0] * len(self.names)
        return Objectives(Objective(name, scale=scale) for name, scale in zip(self.names, scales))

    @property
    def discount(self) -> float:
        """The discount of the returns."""
        found = self.gamma if self.gamma is not None else self.facts.gamma
        assert found is not None
        return found

    def make(self, n: int, *, max_episode_steps: int | None = None) -> Any:
        """N copies to learn in; see `pareto.tasks.env.vectors`.

        Args:
            n: how many.
            max_episode_steps: time limit; None takes the task's own.
        """
        limit = max_episode_steps if max_episode_steps is not None else self.max_episode_steps
        return make_vectors(self.id, n, arguments=self.arguments, max_episode_steps=limit)

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
        return Scores(played.returns, ids, split, facts, Cost(**{counted: played.steps}))

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        """The first n held-out episodes as trajectories."""
        if n == 0:
            return []
        seeds = self.episode_seeds("heldout")[:n]
        played = self.play(load_actor(policy), "heldout", seeds, keep=True)
        return [
            {
                "prompt": f"episode {i}",
                "response": " ".join(map(str, np.asarray(actions).tolist())),
                "actions": np.asarray(actions).tolist(),
                "rewards": rewards.tolist(),
                "returns": self.objectives.named(value),
            }
            for i, (actions, rewards, value) in enumerate(zip(played.actions, played.rewards, played.returns))
        ]

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> Mapping[str, Any] | None:
        """The exact front over deterministic policies, where the environment can work it out."""
        find = getattr(self.make(1), "pareto_front", None)
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
        self, actor: Actor, split: str, seeds: Sequence[int] | None = None, *, keep: bool = False
    ) -> Episodes:
        """Episodes of an actor on the seeds of a split.

        Args:
            actor: the policy.
            split: "selection" or "heldout"; also names the stream that drawn actions come from.
            seeds: in place of the split's own.
            keep: keep actions and rewards.
        """
        seeds = self.episode_seeds(split) if seeds is None else seeds
        draw = rng.generator("episode actions", split, self.seed)
        return play(
            self.make(len(seeds)), lambda seen: actor.act(seen, draw), seeds, self.discount, keep=keep
        )
