"""Whether a reply matches a regular expression."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import field_validator

from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("regex", source="definition; Python's re")
class Regex(Reward):
    """1 where the pattern is found in the reply, else 0.

    Args:
        pattern: regular expression; the dot matches line breaks.
    """

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "share"
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] 0 or 1."""
        found = re.compile(self.pattern, re.DOTALL)
        return np.array([found.search(r) is not None for r in replies], dtype=np.float64)
