"""Length in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("words", source="definition")
class Words(Reward):
    """Count the words of a reply, split at white space; fewer is better."""

    direction: ClassVar[Direction] = "min"
    unit: ClassVar[str] = "words"

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] number of words."""
        return np.array([len(r.split()) for r in replies], dtype=np.float64)
