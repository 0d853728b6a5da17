"""Moving on a grid: the part that deep-sea-treasure and resource-gathering share."""

from __future__ import annotations

import numpy as np

MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
"""Action -> change of (row, column): up, down, left, right."""


def neighbours(free: np.ndarray) -> np.ndarray:
    """Where each move leads on a grid; a move off the grid or into a blocked cell leads nowhere.

    Args:
        free: [rows, columns] bool.

    Returns:
        [rows * columns, 4] int64, the index row * columns + column after up, down, left, right.
    """
    rows, columns = free.shape
    here = np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)[:, None]
    there = np.clip(here + MOVES, 0, [rows - 1, columns - 1])
    there = np.where(free[tuple(np.moveaxis(there, -1, 0))][..., None], there, here)
    return there[..., 0] * columns + there[..., 1]


def positions(rows: int, columns: int) -> np.ndarray:
    """[rows * columns, 2] int32: row and column of each cell."""
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1).astype(np.int32)
