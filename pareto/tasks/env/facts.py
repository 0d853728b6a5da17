"""What an environment says of itself, and which of two forms of it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from pareto.env_loader import load_envs
from pareto.models.spaces import Actions, Observations
from pareto.objectives import Objectives
from pareto.tasks.env.opening import open_envs
from pareto.tasks.env.sources import Source
from pareto.tasks.env.vectors import VectorEnvs


@dataclass(frozen=True)
class EnvFacts:
    """What an environment says of itself.

    Args:
        objectives: the m objectives.
        observations: how observations are encoded.
        actions: how actions are decoded.
        gamma: discount under which the literature reports it, or None.
        ref_point: [m] the reference point that goes with it, larger is better, or None.
        pareto_front: gamma -> exact front [k, m], or None where it is not known.
        limit: steps after which it ends an episode, or None.
    """

    objectives: Objectives
    observations: Observations
    actions: Actions
    gamma: float | None = None
    ref_point: tuple[float, ...] | None = None
    pareto_front: Callable[[float], Any] | None = None
    limit: int | None = None


def fastest(source: Source) -> Source:
    """Our batched environment in place of MO-Gymnasium's where both are proven equal step for step; else the source."""
    twins = load_envs().batched.TWINS
    return next((ours for ours, theirs in twins.items() if theirs == source), source)


def limited(make: Callable[..., Any], steps: int) -> Callable[..., Any]:
    """A function like `make` whose plain environments are cut off after some steps; vector environments keep their own limit."""

    def made(**options: Any) -> Any:
        env = make(**options)
        return gym.wrappers.TimeLimit(env, steps) if isinstance(env, gym.Env) else env

    return made


def describe(source: Source, options: Mapping[str, Any], names: tuple[str, ...] | None) -> EnvFacts:
    """Open one copy and ask it."""
    with open_envs(source, 1, options=options, objectives=names) as envs:
        owner = _owner(envs)
        ref_point = getattr(owner, "ref_point", None)
        return EnvFacts(
            envs.objectives,
            envs.observations,
            envs.actions,
            getattr(owner, "gamma", None),
            None if ref_point is None else tuple(float(x) for x in np.asarray(ref_point)),
            getattr(owner, "pareto_front", None),
            getattr(owner, "max_episode_steps", None)
            or getattr(getattr(owner, "spec", None), "max_episode_steps", None),
        )


def _owner(envs: VectorEnvs) -> Any:
    """The environment behind the copies: what may know more of itself than the copies do."""
    several = getattr(envs, "envs", None)
    return several[0].unwrapped if several else getattr(envs, "env", envs)
