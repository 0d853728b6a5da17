"""Small pictures for rollout videos: coloured tiles and discs, painted into arrays."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

DRAWN = {"render_modes": ["rgb_array"], "render_fps": 10}
"""Metadata of environments that have a picture."""

WATER, ROCK, GROUND, HOME = (28, 107, 160), (92, 80, 70), (206, 216, 178), (84, 116, 196)
GOLD, GEM, ENEMY, AGENT = (240, 190, 40), (70, 200, 200), (190, 56, 56), (20, 20, 20)


def tiles(cells: np.ndarray, pixels: int = 24) -> np.ndarray:
    """Enlarge coloured cells, with a dark line between them.

    Args:
        cells: [rows, columns, 3] uint8.
        pixels: side of a tile.

    Returns:
        [rows * pixels, columns * pixels, 3] uint8.
    """
    picture = cells.repeat(pixels, axis=0).repeat(pixels, axis=1)
    picture[::pixels] //= 2
    picture[:, ::pixels] //= 2
    return picture


def discs(
    shapes: Iterable[tuple[float, float, float, tuple[int, int, int]]], pixels: int = 240
) -> np.ndarray:
    """Paint discs on the unit square, later ones over earlier ones.

    Args:
        shapes: (x, y, radius, colour), y downwards.
        pixels: side of the picture.

    Returns:
        [pixels, pixels, 3] uint8.
    """
    picture = np.full((pixels, pixels, 3), GROUND, dtype=np.uint8)
    centre = (np.arange(pixels) + 0.5) / pixels
    for x, y, radius, colour in shapes:
        picture[(centre - x) ** 2 + (centre[:, None] - y) ** 2 < radius**2] = colour
    return picture
