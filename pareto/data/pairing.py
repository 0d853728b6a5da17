"""Which scored responses to one prompt become pairs: each with each, or some of them, and never more than memory has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from pareto.errors import DataError

MOST_PAIRS = 1_000_000
"""So many pairs are always made."""
PER_RESPONSE = 100
"""Of larger data, so many pairs for each scored response: two hundred responses to every prompt, each with each."""
TRIES = 20
"""Draws for each wanted pair; where nearly all responses are the same text, fewer pairs come out."""


def check_number(sizes: Sequence[int], most: int | None) -> None:
    """Refuse data whose pairs would be out of proportion: pairs grow with the square of the responses to a prompt.

    Args:
        sizes: scored responses to each prompt.
        most: pairs taken of a prompt, or None for all.

    Raises:
        DataError: with the numbers and what to do.
    """
    total = sum(n * (n - 1) // 2 if most is None else min(most, n * (n - 1) // 2) for n in sizes)
    limit = max(MOST_PAIRS, PER_RESPONSE * sum(sizes))
    if total > limit:
        raise DataError(
            f"{sum(sizes)} scored responses to {len(sizes)} prompts would make {total} pairs (one prompt has {max(sizes)} of them); "
            f"at most {limit} are made: say how many to take of a prompt, with task.pairs_per_prompt or --pairs-per-prompt, or "
            "look whether the prompts are what they should be"
        )


def pairs_of(
    entries: Sequence[int], texts: Sequence[int], most: int | None, stream: Callable[[], np.random.Generator]
) -> tuple[list[tuple[int, int]], int]:
    """Pairs of one prompt's scored responses whose texts differ, in order, and how many were left out as equal.

    Args:
        entries: scored responses.
        texts: entry -> its text's number.
        most: pairs to take, drawn at random where there are more; None: all.
        stream: makes the generator of the draws, asked only where something is drawn.
    """
    n = len(entries) * (len(entries) - 1) // 2
    if most is not None and n > MOST_PAIRS:
        return _drawn(entries, texts, most, stream())
    everyone = list(itertools.combinations(entries, 2))
    pairs = [(i, j) for i, j in everyone if texts[i] != texts[j]]
    equal = len(everyone) - len(pairs)
    if most is not None and len(pairs) > most:
        pairs = [pairs[k] for k in sorted(stream().permutation(len(pairs))[:most])]
    return pairs, equal


def _drawn(
    entries: Sequence[int], texts: Sequence[int], most: int, stream: np.random.Generator
) -> tuple[list[tuple[int, int]], int]:
    """As `pairs_of`, without ever holding all pairs."""
    found: set[tuple[int, int]] = set()
    equal = 0
    for _ in range(TRIES):
        for i, j in np.sort(stream.integers(len(entries), size=(most, 2)), axis=1).tolist():
            if i != j and len(found) < most:
                same = texts[entries[i]] == texts[entries[j]]
                equal += same
                if not same:
                    found.add((entries[i], entries[j]))
    return sorted(found), equal
