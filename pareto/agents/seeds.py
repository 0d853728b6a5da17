"""What methods for environments share, and how their jobs get through kills."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from pareto.cells import Cell, FitContext, Fitted
from pareto.config import Config
from pareto.methods import FITTERS
from pareto.policy_set import PolicySet
from pareto.state.checkpoint import Checkpoints


class AgentMethod(Config):
    """A method that trains policies in environments."""

    @abstractmethod
    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """All jobs, each after those it needs."""

    @abstractmethod
    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Do one job."""

    def fit(self, env_fn: Callable[[], Any], **options: Any) -> PolicySet:
        """Find policies for an environment made by a function; see `pareto.study.fitting.env.fit_env` for the options.

        Args:
            env_fn: makes one environment with vector rewards (gymnasium's `Env` or `VectorEnv`).
            options: weights, seed, out, gamma, ref_point, ...
        """
        return FITTERS.get("env")(self, env_fn, **options)


class PerSeed(AgentMethod):
    """A method of which every seed is one job."""

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """One job per seed."""
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        spec = {
            "method": self.model_dump(mode="json"),
            "task": task.model_dump(mode="json"),
            "weights": named,
        }
        return [Cell("policy", "method", spec, seed=seed) for seed in seeds]


class Machine(Protocol):
    """What moves step by step and can be put back to where it was after any of them."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        ...

    @property
    def steps(self) -> int:
        """True environment steps so far."""
        ...

    def step(self) -> None:
        """One move."""
        ...

    def figures(self) -> dict[str, Any]:
        """What is worth telling after a move."""
        ...

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, JSON-able facts) that `load` takes back."""
        ...

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        ...


def to_the_end(
    machine: Machine, context: FitContext, total_steps: int, *, checkpoint_every: int, log_every: int = 10
) -> None:
    """Move a machine to its end, from its latest checkpoint on.

    Args:
        machine: as it is at the very beginning.
        context: where checkpoints lie, and who hears how far it is.
        total_steps: environment steps that it may take, for the bar.
        checkpoint_every: moves between checkpoints.
        log_every: moves between lines of the job's log.
    """
    checkpoints = Checkpoints(context.scratch)
    latest, done = checkpoints.latest(), 0
    if latest is not None:
        done = latest[0]
        machine.load(latest[1], latest[2])
    context.progress(min(machine.steps, total_steps), total_steps, {"env_steps": machine.steps})
    while not machine.finished:
        machine.step()
        done += 1
        figures = {"step": done, "env_steps": machine.steps, **machine.figures()}
        context.progress(min(machine.steps, total_steps), total_steps, figures)
        if done % log_every == 0 or machine.finished:
            context.log(figures)
        if done % checkpoint_every == 0 and not machine.finished:
            checkpoints.save(done, *machine.state())
