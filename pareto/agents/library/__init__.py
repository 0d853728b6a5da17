"""The learners of morl-baselines, called for comparison and scored like everything else (extra `baselines`)."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto import simplex
from pareto.errors import ConfigError, MissingPackageError
from pareto.registry import Registry


@dataclass(frozen=True)
class LibraryPolicy:
    """One policy of a learner of the library.

    Args:
        begin: called at the start of every episode.
        act: observation -> action, both as the environment has them.
        told: hears every reward [m].
    """

    begin: Callable[[], None]
    act: Callable[[Any], Any]
    told: Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Order:
    """What a learner is asked for.

    Args:
        make: makes an environment of MO-Gymnasium's.
        ref_point: [m].
        gamma: discount.
        steps: environment steps of training.
        seed: of everything.
        n_policies: at how many weights a conditioned learner is deployed.
    """

    make: Callable[[], Any]
    ref_point: np.ndarray
    gamma: float
    steps: int
    seed: int
    n_policies: int = 16

    @property
    def weights(self) -> np.ndarray:
        """[k, m] evenly spread, at least `n_policies` of them or the coarsest lattice that has."""
        m = len(self.ref_point)
        return simplex.das_dennis(m, simplex.divisions_for(m, self.n_policies)).astype(np.float32)


LIBRARY: Registry[Callable[[Order], list[LibraryPolicy]]] = Registry(
    "learner of the library", "pareto.agents.library"
)
"""Name -> function that trains and returns the policies to be scored."""


def train_library(name: str, order: Order) -> list[LibraryPolicy]:
    """Train one of `LIBRARY`, in a folder of its own, since the library writes where it stands.

    Raises:
        MissingPackageError: morl-baselines is not installed.
        UnknownNameError: no such learner.
    """
    if importlib.util.find_spec("morl_baselines") is None:
        raise MissingPackageError("morl-baselines", "baselines", f"the library's learner {name!r}")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    os.environ.setdefault("WANDB_MODE", "disabled")
    learn = LIBRARY.get(name)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        return learn(order)


def score_library(policies: Sequence[LibraryPolicy], order: Order, seeds: Sequence[int]) -> np.ndarray:
    """[k, n, m] discounted returns of every policy on the same episodes.

    Args:
        policies: k of them.
        order: they were trained by.
        seeds: [n], one per episode.
    """
    env = order.make()
    limit = env.spec.max_episode_steps if env.spec is not None else None
    if limit is None:
        raise ConfigError("an environment without a time limit could run for ever; give make() one that has")
    returns = np.zeros((len(policies), len(seeds), len(order.ref_point)))
    for k, policy in enumerate(policies):
        for i, seed in enumerate(seeds):
            seen, _ = env.reset(seed=int(seed))
            policy.begin()
            discount, over = 1.0, False
            while not over:
                seen, reward, terminated, truncated, _ = env.step(policy.act(seen))
                policy.told(np.asarray(reward))
                returns[k, i] += discount * np.asarray(reward)
                discount *= order.gamma
                over = terminated or truncated
    env.close()
    return returns


def at_weights(learner: Any, weights: np.ndarray) -> LibraryPolicy:
    """A learner that is told weights, at fixed ones."""
    return LibraryPolicy(lambda: None, lambda seen: learner.eval(seen, weights), lambda reward: None)
