"""Deep-sea treasure: the deeper the treasure the longer the dive."""

from __future__ import annotations

from typing import Literal

import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError, did_you_mean
from pareto.objectives import Objective, Objectives

from .batched import BatchedEnv, SingleEnv, register
from .grid import neighbours, positions
from .pictures import AGENT, DRAWN, GOLD, ROCK, WATER, tiles
from .tabular import Cell, Tables, TabularDynamics

Chart = Literal["convex", "concave", "mirrored"]

_FLOOR = (1, 2, 3, 4, 4, 4, 7, 7, 9, 10)  # row of the treasure in each column; rock below it
_VALUES = {
    "convex": (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7),
    "concave": (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0),
    "mirrored": (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0),
}


def chart(name: Chart) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Draw a map: treasure values [rows, columns], free cells [rows, columns] bool, start (row, column).

    Raises:
        ConfigError: there is no map of that name.
    """
    if name not in _VALUES:
        raise ConfigError(f"unknown map {name!r}{did_you_mean(name, _VALUES)}; known: {', '.join(_VALUES)}")
    left = len(_FLOOR) if name == "mirrored" else 0  # the mirror image on the left holds rock and no treasure
    width = left + len(_FLOOR) + (0 if left else 1)
    treasure = np.zeros((max(_FLOOR) + 1, width))
    free = np.ones(treasure.shape, dtype=bool)
    for column, (row, value) in enumerate(zip(_FLOOR, _VALUES[name])):
        treasure[row, left + column] = value
        free[row + 1 :, left + column] = False
        if left:
            free[row + 1 :, left - 1 - column] = False
    return treasure, free, (0, left)


class SeaDynamics(TabularDynamics):
    """Tables of the dive; see `DeepSeaTreasure`."""

    def __init__(self, chart_name: Chart = "convex") -> None:
        treasure, free, start = chart(chart_name)
        rows, columns = treasure.shape
        successor = neighbours(free)
        found = treasure.reshape(-1)[successor]
        super().__init__(
            Tables(
                start=start[0] * columns + start[1],
                successor=successor[None],
                reward=np.stack([found, np.full(found.shape, -1.0)], axis=-1)[None],
                terminated=(found > 0)[None],
                threshold=np.zeros((0, *successor.shape)),
                observation=positions(rows, columns),
            )
        )
        self.objectives = Objectives(
            [Objective("treasure", scale=treasure.max()), Objective("time", unit="-steps", scale=20.0)]
        )
        self.observation_space = spaces.Box(
            0, np.array([rows - 1, columns - 1], dtype=np.int32), dtype=np.int32
        )
        self.action_space = spaces.Discrete(4)
        self.reward_space = spaces.Box(
            np.array([0.0, -1.0], dtype=np.float32), np.array([treasure.max(), -1.0], dtype=np.float32)
        )
        self.ref_point = (0.0, -50.0)
        self.gamma = 0.99
        self._cells = np.where(
            (treasure > 0)[..., None], GOLD, np.where(free[..., None], WATER, ROCK)
        ).astype(np.uint8)

    def picture(self, state: Cell) -> np.ndarray:
        """Draw water, rock, treasures and the submarine."""
        cells = self._cells.copy()
        cells.reshape(-1, 3)[state.index[0]] = AGENT
        return tiles(cells)


class DeepSeaTreasure(SingleEnv):
    """Steer a submarine to one of ten treasures, the dearer the farther.

    Description:
        A grid of water and rock, eleven rows deep. The ten treasures lie on the rock, one in a column, and their
        value rises with their distance from the start: every one of them is a point of the front. On the convex
        map linear weights can find all ten (at gamma 0.99); on the concave and mirrored maps they find only the
        nearest and the farthest. The mirrored map starts in the middle, with a barren half on the left.

    Observation:
        [2] int32: row and column of the submarine.

    Action:
        Discrete(4): up, down, left, right. Moving off the map or into rock leaves the submarine where it is.

    Reward space:
        [2]: value of the treasure reached (else 0); -1 for every step.

    Start:
        Upper left corner (0, 0); (0, 10) on the mirrored map.

    Termination:
        On reaching a treasure. The registered ids truncate after 100 steps.

    Arguments:
        chart_name: "convex" (Yang and others 2019), "concave" (Vamplew and others 2011) or "mirrored" (the concave
            one beside its barren mirror image).

    Credits:
        Vamplew, Dazeley, Berry, Issabekov, Dekker (2011), Empirical evaluation methods for multiobjective
        reinforcement learning algorithms. Dynamics equal to MO-Gymnasium's deep-sea-treasure-v0, -concave-v0 and
        -mirrored-v0, step for step.
    """

    metadata = DRAWN
    dynamics_class = SeaDynamics


class DeepSeaTreasureVector(BatchedEnv):
    """Many `DeepSeaTreasure` at once."""

    dynamics_class = SeaDynamics


def register_envs() -> None:
    """File the three maps."""
    for name, id_part, twin in (
        ("convex", "", ""),
        ("concave", "Concave", "-concave"),
        ("mirrored", "Mirrored", "-mirrored"),
    ):
        register(
            f"DeepSeaTreasure{id_part}-v0",
            f"{__name__}:DeepSeaTreasure",
            max_episode_steps=100,
            twin=f"deep-sea-treasure{twin}-v0",
            chart_name=name,
        )
