"""Open any environment as E copies that are stepped together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv

from pareto.errors import ConfigError
from pareto.objectives import Objective, Objectives
from pareto.tasks.env.copies import Batched, InTurn, SideBySide
from pareto.tasks.env.rewards import objectives_of
from pareto.tasks.env.sources import Source, make_batch, make_one
from pareto.tasks.env.vectors import VectorEnvs
from pareto.tasks.env.workers import Remote


def open_envs(
    source: Source,
    copies: int,
    *,
    options: Mapping[str, Any] | None = None,
    objectives: Objectives | Sequence[Objective | str] | None = None,
    workers: int = 0,
    render: bool = False,
) -> VectorEnvs:
    """E copies of an environment, whatever it is.

    Ids with a batched form of their own (all of ``pareto/...``) run as arrays; others are stepped one after the other,
    here or in `workers` processes. A function may make a plain environment (called once per copy) or a vector
    environment, of which as many stand side by side as are needed.

    Args:
        source: an id, or a function that makes an environment; see `pareto.tasks.env.sources.Source`.
        copies: E >= 1.
        options: keyword arguments of the environment.
        objectives: names ("cost:min" is minimised) in the order of the rewards, where the environment does not say.
        workers: processes that share the copies; 0 steps them in this one. Worth it from about 0.2 ms a step.
        render: make the first copy able to draw itself; such copies run as plain environments.

    Returns:
        the copies; close them, or use them in a `with` block.

    Raises:
        MissingPackageError: a package is missing; the message names the pip command.
        ConfigError: an unknown id, options it does not take, spaces that no policy here can use, or copies that vector
            environments of the given size cannot make up.
        ShapeError: rewards that are not vectors.
    """
    if copies < 1 or workers < 0:
        raise ConfigError(f"copies must be >= 1 and workers >= 0; got {copies} and {workers}")
    options = dict(options or {})
    if workers and not render:
        shares = [copies // workers + (i < copies % workers) for i in range(min(workers, copies))]
        parts = [Remote(source, share, options, objectives) for share in shares]
        return SideBySide([part.ready() for part in parts])
    if isinstance(source, str) and not render:
        batch = make_batch(source, copies, options)
        if batch is not None:
            return Batched(batch, objectives_of(batch, objectives))
    first = make_one(source, options, render)
    if isinstance(first, VectorEnv):
        return _side_by_side(source, first, copies, options, objectives)
    if not isinstance(first, gym.Env):
        raise ConfigError(
            f"expected a gymnasium.Env or gymnasium.vector.VectorEnv from the function; got {type(first).__name__}"
        )
    named = objectives_of(first, objectives)
    return InTurn([first, *(make_one(source, options, False) for _ in range(copies - 1))], named)


def _side_by_side(
    source: Source,
    first: VectorEnv[Any, Any, Any],
    copies: int,
    options: Mapping[str, Any],
    objectives: Objectives | Sequence[Objective | str] | None,
) -> VectorEnvs:
    times, left = divmod(copies, first.num_envs)
    if left:
        first.close()
        raise ConfigError(
            f"{copies} copies are needed and the function makes vector environments of {first.num_envs}; "
            f"let it make a number that divides {copies}, or one plain environment"
        )
    named = objectives_of(first, objectives)
    parts = [Batched(first, named)]
    parts += [Batched(make_one(source, options, False), named) for _ in range(times - 1)]
    return parts[0] if times == 1 else SideBySide(parts)
