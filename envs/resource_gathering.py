"""Resource gathering: bring gold and gems home past enemies that may kill."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from pareto.objectives import Objective, Objectives

from . import pictures
from .batched import BatchedEnv, SingleEnv, register
from .grid import neighbours, positions
from .tabular import Cell, Tables, TabularDynamics

SIZE = 5
GOLD, GEM, HOME = (0, 2), (1, 4), (4, 2)
ENEMIES = ((0, 3), (1, 2))
DEATH = 0.1
"""Probability that an enemy kills on a step that ends in its cell."""


class GatheringDynamics(TabularDynamics):
    """Tables of the grid, once for each combination of gold and gem in the bag; see `ResourceGathering`."""

    def __init__(self) -> None:
        n_cells = SIZE * SIZE
        cell = {
            place: row * SIZE + column for place in (GOLD, GEM, HOME, *ENEMIES) for row, column in [place]
        }
        place = np.tile(neighbours(np.ones((SIZE, SIZE), dtype=bool)), (4, 1))
        gold, gem = (np.repeat([0, 1, 0, 1], n_cells)[:, None], np.repeat([0, 0, 1, 1], n_cells)[:, None])
        gold = gold | (place == cell[GOLD])
        gem = gem | (place == cell[GEM])
        home = place == cell[HOME]
        survived = np.stack([np.zeros(place.shape), home & (gold == 1), home & (gem == 1)], axis=-1)
        killed = np.broadcast_to([-1.0, 0.0, 0.0], survived.shape)
        successor = (gold + 2 * gem) * n_cells + place
        danger = np.isin(place, [cell[enemy] for enemy in ENEMIES])
        bag = np.repeat([[0, 0], [1, 0], [0, 1], [1, 1]], n_cells, axis=0).astype(np.int32)
        super().__init__(
            Tables(
                start=cell[HOME],
                successor=np.stack([successor, successor]),
                reward=np.stack([killed, survived]),
                terminated=np.stack([np.ones_like(home), home]),
                threshold=np.where(danger, DEATH, 0.0)[None],
                observation=np.concatenate([np.tile(positions(SIZE, SIZE), (4, 1)), bag], axis=1),
            )
        )
        self.objectives = Objectives(
            [Objective("killed", unit="-deaths"), Objective("gold"), Objective("gem")]
        )
        self.observation_space = spaces.Box(
            0, np.array([SIZE - 1, SIZE - 1, 1, 1], dtype=np.int32), dtype=np.int32
        )
        self.action_space = spaces.Discrete(4)
        self.reward_space = spaces.Box(
            np.array([-1.0, 0.0, 0.0], dtype=np.float32), np.array([0.0, 1.0, 1.0], dtype=np.float32)
        )
        self.ref_point = (-1.0, -1.0, -2.0)
        self.gamma = 0.99

    def picture(self, state: Cell) -> np.ndarray:
        """Draw home, enemies, what is left of the treasures, and the agent."""
        row, column, has_gold, has_gem = self.observe(state)[0]
        cells = np.full((SIZE, SIZE, 3), pictures.GROUND, dtype=np.uint8)
        cells[HOME] = pictures.HOME
        cells[tuple(zip(*ENEMIES))] = pictures.ENEMY
        cells[GOLD] = pictures.GROUND if has_gold else pictures.GOLD
        cells[GEM] = pictures.GROUND if has_gem else pictures.GEM
        cells[row, column] = pictures.AGENT
        return pictures.tiles(cells, 48)


class ResourceGathering(SingleEnv):
    """Fetch gold and a gem from a 5 x 5 grid and bring them home; two cells are guarded.

    Description:
        Gold lies at (0, 2) and a gem at (1, 4), with enemies at (1, 2) and (0, 3), on the short ways to and between
        them. What is in the bag counts only on coming home. Entering an enemy's cell, or bumping into the wall
        there, kills with probability 0.1. With a strong discount, risk buys time that is worth it.

        `pareto_front` is exact for these dynamics. The front that MO-Gymnasium declares for its environment of the
        same dynamics (hypervolume 5.2315 at gamma 0.99) is not: it leaves out the safe round trip of 18 steps that
        fetches both, and discounts the reward of step t by gamma^t instead of gamma^(t-1). The exact one has
        hypervolume 5.4147.

    Observation:
        [4] int32: row, column, gold in the bag (0 or 1), gem in the bag (0 or 1).

    Action:
        Discrete(4): up, down, left, right. Moving off the grid leaves the agent where it is.

    Reward space:
        [3]: -1 when killed; 1 on coming home with gold; 1 on coming home with the gem.

    Start:
        At home, (4, 2), with an empty bag.

    Termination:
        On coming home (also by bumping into the wall there) or being killed. The registered id truncates after 100
        steps.

    Arguments:
        None.

    Credits:
        Barrett, Narayanan (2008), Learning all optimal policies with multiple criteria. Dynamics equal to
        MO-Gymnasium's resource-gathering-v0, step for step under the same luck.
    """

    metadata = pictures.DRAWN
    dynamics_class = GatheringDynamics


class ResourceGatheringVector(BatchedEnv):
    """Many `ResourceGathering` at once."""

    dynamics_class = GatheringDynamics


def register_envs() -> None:
    """File the grid."""
    register(
        "ResourceGathering-v0",
        f"{__name__}:ResourceGathering",
        max_episode_steps=100,
        twin="resource-gathering-v0",
    )
