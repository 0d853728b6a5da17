"""How much a reply repeats itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("repetition", source="Welleck et al. (2020), arXiv 1908.04319, seq-rep-n, over words")
class Repetition(Reward):
    """Share of word n-grams that occurred before in the same reply; less is better.

    1 - distinct / all; 0 for replies of fewer than n words.

    Args:
        n: words per n-gram.
    """

    direction: ClassVar[Direction] = "min"
    unit: ClassVar[str] = "share"
    n: int = Field(default=4, ge=1)

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] in 0..1."""
        return np.array([self._repeated(r.split()) for r in replies], dtype=np.float64)

    def _repeated(self, words: list[str]) -> float:
        grams = [tuple(words[i : i + self.n]) for i in range(len(words) - self.n + 1)]
        return 1.0 - len(set(grams)) / len(grams) if grams else 0.0
