"""The exact front of an instance small enough to enumerate: every state, every choice, every outcome.

With sizes from a short list and fixed rates, chance is only which task comes next. The tree of reachable states is
built level by level with the environment's own dynamics (equal states merged); for given weights, backward recursion
then gives the best expected delay and energy over all policies that may depend on the whole state. The corners of the
convex front are found by asking for the weights normal to each known edge until no edge hides a further corner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pareto.errors import ConfigError, ShapeError

from .channel import Wired
from .config import OffloadingConfig
from .dynamics import OffloadingDynamics, State
from .heuristics import checked
from .system import Fixed
from .workload import Discrete

SMALLEST_WEIGHT = 1e-9
"""Weights are kept at least this far from zero, so that an end of the front is its best point, not any tied one."""


@dataclass(frozen=True)
class Level:
    """All states of one slot, N of them, each with K possible tasks and S servers to choose from.

    Args:
        reward: [N, K, S, 2] minus delay in s and minus energy in J.
        child: [N, K, S] index of the state that follows in the next level.
        observation: [N, K, S, F] what is seen.
    """

    reward: np.ndarray
    child: np.ndarray
    observation: np.ndarray


@dataclass(frozen=True)
class Tree:
    """Everything that can happen.

    Args:
        levels: one per slot.
        probability: [K] of each task.
    """

    levels: tuple[Level, ...]
    probability: np.ndarray

    @property
    def n_decisions(self) -> int:
        """Number of (state, task) pairs in which a server is chosen."""
        return sum(level.child[..., 0].size for level in self.levels)


def grow(config: OffloadingConfig, slots: int) -> Tree:
    """Enumerate what can happen in an episode of `slots` slots.

    Raises:
        ConfigError: the instance draws anything but task sizes from a list.
    """
    system, workload, channel = config.system, config.workload, config.channel
    if not (isinstance(system, Fixed) and isinstance(workload, Discrete) and isinstance(channel, Wired)):
        raise ConfigError(
            "only an instance with a fixed system, discrete sizes and wired channels can be enumerated; got "
            f"{system.kind}, {workload.kind}, {channel.kind}"
        )
    if system.servers != 1 + system.edges[0]:
        raise ConfigError("expected no padding: every server of an enumerated instance must be there")
    dynamics = OffloadingDynamics(config)
    hertz, rate = np.array([system.cloud_hz, *system.edge_hz]), np.array(channel.rates_bps)
    sizes = np.array(workload.sizes_bits)
    residual = np.zeros((1, system.servers, 1))
    levels = []
    for slot in range(slots):
        state = _states(
            dynamics,
            np.repeat(residual, len(sizes), axis=0),
            hertz,
            rate,
            np.tile(sizes, len(residual)),
            slot,
        )
        shape = (len(residual), len(sizes), system.servers)
        after = [dynamics.advance(state, np.full(len(state.size), a)) for a in range(system.servers)]
        residual, child = _merged(after)
        observation = dynamics.observe(state)
        levels.append(
            Level(
                reward=-state.cost.reshape(*shape, 2),
                child=child.reshape(shape),
                observation=observation.reshape(*shape, observation.shape[-1]),
            )
        )
    return Tree(tuple(levels), np.array(workload.probabilities))


def best_values(tree: Tree, weights: Any) -> np.ndarray:
    """Compute the expected return of an optimal policy for each weight vector.

    Args:
        tree: what can happen.
        weights: [B, 2] on the simplex, over minus seconds and minus joules as they are (no scales).

    Returns:
        [B, 2] minus expected delay in s, minus expected energy in J.
    """
    w = np.maximum(checked(weights), SMALLEST_WEIGHT)
    return np.concatenate([_best(tree, some) for some in np.array_split(w, -(-len(w) // 32))])


def _best(tree: Tree, w: np.ndarray) -> np.ndarray:
    value = np.zeros((len(w), tree.levels[-1].child.max() + 1, 2))
    for level in reversed(tree.levels):
        choice = level.reward + value[:, level.child]
        best = np.einsum("bnksm,bm->bnks", choice, w).argmax(axis=-1)
        taken = np.take_along_axis(choice, best[..., None, None], axis=3)[..., 0, :]
        value = np.einsum("bnkm,k->bnm", taken, tree.probability)
    return value[:, 0]


def policy_value(tree: Tree, act: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Compute the exact expected return [2] of a policy that maps observations [n, S, F] to servers [n]."""
    value = np.zeros((tree.levels[-1].child.max() + 1, 2))
    for level in reversed(tree.levels):
        n, k, servers, width = level.observation.shape
        actions = np.asarray(act(level.observation.reshape(n * k, servers, width)))
        if actions.shape != (n * k,):
            raise ShapeError(
                f"expected one server for each of {n * k} observations; got shape {actions.shape}"
            )
        choice = (level.reward + value[level.child]).reshape(n * k, servers, 2)
        value = np.einsum("nkm,k->nm", choice[np.arange(n * k), actions].reshape(n, k, 2), tree.probability)
    return value[0]


def supported_front(tree: Tree, tolerance: float = 1e-9) -> np.ndarray:
    """Find the corners of the convex front of expected returns, over all policies.

    Args:
        tree: what can happen.
        tolerance: a corner that sticks out of the known edges by less than this share of both ranges is left out.

    Returns:
        [k, 2] minus delay in s, minus energy in J; from the least delay to the least energy.
    """
    corners = best_values(tree, np.eye(2))
    span = np.maximum(np.abs(corners[0] - corners[1]), 1e-300)
    settled: set[tuple[float, ...]] = set()
    while True:
        edges = [e for e in pairwise(corners) if tuple(np.concatenate(e)) not in settled]
        if not edges or (corners[0] == corners[-1]).all():
            return _distinct(corners)
        normals = np.array([[a[1] - b[1], b[0] - a[0]] for a, b in edges])
        normals = np.abs(normals) / np.abs(normals).sum(axis=1, keepdims=True)
        found = best_values(tree, normals)
        out = ((found - np.array([a for a, _ in edges])) * normals).sum(axis=1) > tolerance * (normals @ span)
        settled |= {tuple(np.concatenate(e)) for e in edges}
        corners = np.concatenate([corners, found[out]])
        corners = _distinct(corners[np.argsort(-corners[:, 0], kind="stable")])


def _states(
    dynamics: OffloadingDynamics,
    residual: np.ndarray,
    hertz: np.ndarray,
    rate: np.ndarray,
    size: np.ndarray,
    slot: int,
) -> State:
    n = len(size)
    frequency, rates = np.tile(hertz, (n, 1)), np.tile(rate, (n, 1))
    cost = dynamics.price(residual, frequency, size, rates)
    backlog, elapsed = np.zeros(n, dtype=np.int64), np.full(n, slot)
    return State(residual, frequency, rates[:, :, None], size, rates, backlog, elapsed, cost)


def _merged(after: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Distinct residuals [N', S, Q] out of one array [N, S, Q_a] per action, and where each went: [N, S]."""
    places = max(a.shape[2] for a in after)
    padded = np.stack([np.pad(a, ((0, 0), (0, 0), (0, places - a.shape[2]))) for a in after], axis=1)
    rows = padded.reshape(-1, padded.shape[2] * places)
    distinct, index = np.unique(rows, axis=0, return_inverse=True)
    return distinct.reshape(len(distinct), -1, places), index.reshape(padded.shape[:2])


def _distinct(corners: np.ndarray) -> np.ndarray:
    """Sorted corners without repetitions."""
    return corners[np.concatenate([[True], (np.diff(corners, axis=0) != 0).any(axis=1)])]
