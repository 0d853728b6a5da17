"""Which graphics cards the workers of a pool see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"


def cards_here(devices: Path = Path("/dev")) -> list[str]:
    """Names of the cards this process may use: what `CUDA_VISIBLE_DEVICES` says, else all NVIDIA cards of the machine."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    numbers = [path.name.removeprefix("nvidia") for path in devices.glob("nvidia*")]
    return sorted((n for n in numbers if n.isdigit()), key=int)


def cards_of(worker: int, gpus: float | None, cards: Sequence[str], device: str) -> list[str]:
    """The cards that one worker's process sees.

    Workers take turns: with whole cards worker i gets the i-th group, with shares the card that its share falls on. More
    workers than the cards have room for begin again at the first card.

    Args:
        worker: number of the worker, from 0.
        gpus: cards per cell, a share of one, or None for one where there are any and the device may be one.
        cards: those that are there.
        device: of the study.
    """
    if gpus is None:
        gpus = float(device != "cpu")
    if gpus == 0 or not cards:
        return []
    if gpus < 1:
        return [cards[int(worker * gpus) % len(cards)]]
    each = min(int(gpus), len(cards))
    return [cards[(worker * each + k) % len(cards)] for k in range(each)]
