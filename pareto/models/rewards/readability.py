"""How easy an English reply is to read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction

_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)?")
_SENTENCE = re.compile(r"[^.!?\n]*[A-Za-z][^.!?\n]*")
_VOWELS = re.compile(r"[aeiouy]+")


@REWARDS.register("readability", source="Flesch (1948), A new readability yardstick, reading ease")
class Readability(Reward):
    """Flesch reading ease of an English reply; more is easier.

    206.835 - 1.015 words/sentences - 84.6 syllables/words. Difference from the source: syllables are counted as groups of
    vowels, a silent final e left out. A reply without words scores 0.
    """

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "points"

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] reading ease, about 0 (hard) to 100 (easy)."""
        return np.array([reading_ease(r) for r in replies], dtype=np.float64)


def reading_ease(text: str) -> float:
    """Flesch reading ease of one text."""
    words = _WORD.findall(text)
    if not words:
        return 0.0
    sentences = len(_SENTENCE.findall(text))
    return (
        206.835 - 1.015 * len(words) / sentences - 84.6 * sum(count_syllables(w) for w in words) / len(words)
    )


def count_syllables(word: str) -> int:
    """Syllables of an English word: groups of vowels, without a final silent e; at least one."""
    word = word.lower()
    silent = word.endswith("e") and not word.endswith(("le", "ee"))
    return max(1, len(_VOWELS.findall(word)) - silent)
