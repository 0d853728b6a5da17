"""Fruit tree: a full binary tree with a different fruit, six nutrients each, at every leaf."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError
from pareto.objectives import Objective, Objectives

from .batched import BatchedEnv, SingleEnv, register
from .tabular import Tables, TabularDynamics

NUTRIENTS = ("protein", "carbs", "fats", "vitamins", "minerals", "water")
DEPTHS = (5, 6, 7)


def fruits(depth: int) -> np.ndarray:
    """[2^depth, 6] float64: nutrients of each leaf's fruit, from the left.

    Raises:
        ConfigError: fruits are known for depths 5, 6 and 7 only.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"depth must be one of {DEPTHS}; got {depth!r}")
    table = np.loadtxt(Path(__file__).with_name("fruit_tree.csv"), delimiter=",", skiprows=1)
    return table[table[:, 0] == depth, 2:]


class TreeDynamics(TabularDynamics):
    """Tables of the tree, nodes numbered row by row; see `FruitTree`."""

    def __init__(self, depth: int = 6) -> None:
        fruit = fruits(depth)
        n_inner = 2**depth - 1
        node = np.arange(n_inner + len(fruit))
        row = np.floor(np.log2(node + 1)).astype(np.int64)
        child = 2 * node[:, None] + [1, 2]
        leaf = row == depth
        child[leaf] = node[leaf, None]  # an episode never goes on from a leaf
        nutrients = np.concatenate([np.zeros((n_inner, len(NUTRIENTS))), fruit])
        super().__init__(
            Tables(
                start=0,
                successor=child[None],
                reward=nutrients[child][None],
                terminated=leaf[child][None],
                threshold=np.zeros((0, *child.shape)),
                observation=np.stack([row, node + 1 - 2**row], axis=1).astype(np.int32),
            )
        )
        self.objectives = Objectives(Objective(name, scale=10.0) for name in NUTRIENTS)
        self.observation_space = spaces.Box(
            0, np.array([depth, 2**depth - 1], dtype=np.int32), dtype=np.int32
        )
        self.action_space = spaces.Discrete(2)
        self.reward_space = spaces.Box(0.0, 10.0, (len(NUTRIENTS),), dtype=np.float32)
        self.ref_point = (-1.0,) * len(NUTRIENTS)
        self.gamma = 0.99


class FruitTree(SingleEnv):
    """Walk down a full binary tree to the fruit with the nutrients you want.

    Description:
        Every leaf holds a fruit with values for six nutrients, and every fruit is a point of the front. There are
        2^depth deterministic policies in all, so that anything but the exact front is a fault of the learner.

    Observation:
        [2] int32: row of the node (0 is the root) and its place in the row, from the left.

    Action:
        Discrete(2): left, right.

    Reward space:
        [6]: protein, carbs, fats, vitamins, minerals, water of the fruit at the leaf reached (else 0).

    Start:
        The root.

    Termination:
        At a leaf, after `depth` steps.

    Arguments:
        depth: 5, 6 or 7.

    Credits:
        Yang, Sun, Narasimhan (2019), A generalized algorithm for multi-objective reinforcement learning and policy
        adaptation, whose fruit values these are. Dynamics equal to MO-Gymnasium's fruit-tree-v0, step for step.
    """

    dynamics_class = TreeDynamics


class FruitTreeVector(BatchedEnv):
    """Many `FruitTree` at once."""

    dynamics_class = TreeDynamics


def register_envs() -> None:
    """File the tree of depth 6; other depths by argument."""
    register("FruitTree-v0", f"{__name__}:FruitTree", max_episode_steps=None, twin="fruit-tree-v0")
