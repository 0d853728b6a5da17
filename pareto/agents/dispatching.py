"""What the methods that train dispatchers share: their jobs, and how one is done and stored, whatever it learns by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from pareto.agents.seeds import AgentMethod, Machine, PerSeed, to_the_end
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.errors import ConfigError
from pareto.models.actors import agent_facts
from pareto.models.actors.dispatcher import DispatcherActor
from pareto.tasks.env.task import EnvTask

Preferences = Callable[[np.random.Generator, int], np.ndarray]
"""(generator, n) -> [n, 2] weights of a round's episodes."""


@dataclass(frozen=True)
class Job:
    """What a dispatcher is trained for.

    Args:
        task: the offloading task.
        preferences: weights of a round's episodes.
        stage: name of the job; jobs of one seed draw different numbers.
        seed: study seed.
        device: where networks are.
    """

    task: EnvTask
    preferences: Preferences
    stage: str
    seed: int
    device: str = "cpu"

    @property
    def name(self) -> tuple[str, int]:
        """What its random streams are called by."""
        return self.stage, self.seed

    def training(self, contexts: Mapping[str, Any] | None, **settings: Any) -> EnvTask:
        """The task to train in: with other options, where there are any, and other settings."""
        own = {} if contexts is None else {"options": dict(contexts)}
        return EnvTask(**{**self.task.model_dump(), **own, **settings})


class Amount(Protocol):
    """Settings that say how much is learned."""

    @property
    def total_steps(self) -> int:
        """Decisions in all."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Rounds between checkpoints."""
        ...


class Dispatches(Machine, Protocol):
    """One dispatcher in training: its moves are rounds of whole episodes, each followed by gradient steps."""

    @property
    def config(self) -> Amount:
        """How much it learns; the last round may go beyond it."""
        ...

    def actor(self, weights: np.ndarray) -> DispatcherActor:
        """The present policy at some weights."""
        ...

    def close(self) -> None:
        """Let go of its environments."""
        ...


class SharedDispatcher(PerSeed):
    """A method that trains one dispatcher for all preferences; every seed is a job.

    The run holds the network at each of the study's weights, so that it can be measured there; `pareto steer --method
    conditioned` takes any others.
    """

    @abstractmethod
    def learning(self, job: Job) -> Dispatches:
        """What will learn, at its beginning."""

    @abstractmethod
    def preferences(self, draw: np.random.Generator, n: int) -> np.ndarray:
        """[n, 2] weights of (delay, energy) of a round's episodes."""

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        check(task)
        return super().plan(task, weights, seeds)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the dispatcher of one seed and store it at every weight."""
        return trained(self.learning, task, self.preferences, cell.spec["weights"], cell, context)


class SeparateDispatchers(AgentMethod):
    """A method that trains an independent dispatcher for each weight vector; every weight is a job."""

    @abstractmethod
    def learning(self, job: Job) -> Dispatches:
        """What will learn, at its beginning."""

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per weight vector and seed."""
        check(task)
        spec = {"method": self.model_dump(mode="json"), "task": task.model_dump(mode="json")}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        return [Cell("policy", "method", spec, {}, w, seed) for seed in seeds for w in named]

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train one dispatcher."""
        named = dict(cell.weights or {})
        own = np.asarray(task.objectives.vector(named))
        return trained(self.learning, task, lambda draw, n: np.tile(own, (n, 1)), [named], cell, context)


def check(task: Any) -> None:
    """Refuse tasks that are not of the offloading kind.

    Raises:
        ConfigError: another environment.
    """
    if tuple(task.objectives.names) != ("delay", "energy") or len(task.facts.observations.shape) != 2:
        raise ConfigError(
            f"a dispatcher needs pareto/Offloading-v0 or an environment with its observations [servers, features] and "
            f"objectives (delay, energy); {task.id} has {task.facts.observations.shape} and "
            f"{tuple(task.objectives.names)}; take cmorl, ppo_conditioned or envelope"
        )


def trained(
    learning: Callable[[Job], Dispatches],
    task: Any,
    preferences: Preferences,
    weights: Sequence[Mapping[str, float]],
    cell: Cell,
    context: FitContext,
) -> Fitted:
    """Train the dispatcher of a cell, from its last checkpoint if there is one, and store it at some weights.

    Args:
        learning: makes what learns, at its beginning.
        task: the offloading task.
        preferences: weights of a round's episodes.
        weights: of the policies to store.
        cell: its method names the job, its id begins the policies'.
        context: where checkpoints and policies go.
    """
    stage = cell.spec["method"]["name"]
    own = replace(context, scratch=context.scratch / stage)
    with closing(learning(Job(task, preferences, stage, cell.seed, context.device))) as dispatcher:
        amount = dispatcher.config
        to_the_end(dispatcher, own, amount.total_steps, checkpoint_every=amount.checkpoint_every, log_every=1)
    facts = agent_facts("dispatcher", task.facts.observations, task.facts.actions)
    made = []
    for i, named in enumerate(weights):
        folder = context.folder / f"{i:03d}"
        dispatcher.actor(np.asarray(task.objectives.vector(named))).save(folder, facts)
        made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, dict(named)))
    return Fitted(tuple(made), Cost(env_steps=dispatcher.steps))


def spread_preferences(draw: np.random.Generator, n: int, power: float) -> np.ndarray:
    """[n, 2] weights of (delay, energy), that of delay u^power with one u in each of n strata of [0, 1]."""
    delay = ((np.arange(n) + draw.random(n)) / n) ** power
    return np.column_stack([delay, 1.0 - delay])
