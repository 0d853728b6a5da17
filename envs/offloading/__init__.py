"""Offloading of tasks in mobile edge computing: delay against energy, for every preference and every system."""

from __future__ import annotations

from ..batched import register
from .config import SLOTS, SYSTEMS, TINY, TINY_SLOTS, OffloadingConfig
from .dynamics import OffloadingDynamics
from .encoding import feature, present
from .env import Offloading
from .vector import OffloadingVector

__all__ = [
    "SLOTS",
    "SYSTEMS",
    "TINY",
    "TINY_SLOTS",
    "Offloading",
    "OffloadingConfig",
    "OffloadingDynamics",
    "OffloadingVector",
    "feature",
    "present",
    "register_envs",
]


def register_envs() -> None:
    """File ``pareto/Offloading-v0`` (six edge servers, 100 slots) and ``pareto/OffloadingTiny-v0`` (6) with gymnasium."""
    register("Offloading-v0", f"{__name__}:Offloading", max_episode_steps=SLOTS)
    register(
        "OffloadingTiny-v0",
        f"{__name__}:Offloading",
        max_episode_steps=TINY_SLOTS,
        **TINY.model_dump(mode="json"),
    )
