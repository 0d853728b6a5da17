"""Stop strings in a reply that comes in pieces: nothing is told that a stop string may yet take back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final


@final
class StopStrings:
    """Text of one reply on its way out.

    Args:
        stops: strings at which the reply ends; they are no part of it.

    Attributes:
        hit: whether one came.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self.stops = tuple(s for s in stops if s)
        self.hit = False
        self._held = ""

    def add(self, text: str, *, last: bool = False) -> str:
        """What may be told of the text so far and was not yet; after a hit nothing more."""
        if self.hit:
            return ""
        self._held += text
        found = [at for at in (self._held.find(s) for s in self.stops) if at >= 0]
        if found:
            self.hit = True
            told, self._held = self._held[: min(found)], ""
            return told
        kept = 0 if last else max((_overlap(self._held, s) for s in self.stops), default=0)
        told, self._held = self._held[: len(self._held) - kept], self._held[len(self._held) - kept :]
        return told


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that begins a stop string."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if stop.startswith(text[-n:])), 0)
