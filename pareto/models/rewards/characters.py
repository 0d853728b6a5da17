"""Length in characters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("characters", source="definition")
class Characters(Reward):
    """Count the Unicode characters of a reply; fewer is better."""

    direction: ClassVar[Direction] = "min"
    unit: ClassVar[str] = "characters"

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] number of characters."""
        return np.array([len(r) for r in replies], dtype=np.float64)
