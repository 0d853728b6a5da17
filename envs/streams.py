"""Random numbers for many copies at once: one stream per copy, whatever the batch it runs in.

A shared generator would make copy 3's luck depend on how many copies run beside it. Here copy i draws from the
counter-based stream of its own seed (SplitMix64: a Weyl sequence put through a mixing function), so that an episode
is a function of its seed and its actions alone: batched equals single, and held-out seeds mean the same episodes
everywhere. All arithmetic is modulo 2^64 on arrays, where numpy wraps silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import numpy as np

_STRIDE = np.array(0x9E3779B97F4A7C15, dtype=np.uint64)  # 2^64 / golden ratio, odd
_MIX_1 = np.array(0xBF58476D1CE4E5B9, dtype=np.uint64)
_MIX_2 = np.array(0x94D049BB133111EB, dtype=np.uint64)
_S30, _S27, _S31, _S11 = (np.array(k, dtype=np.uint64) for k in (30, 27, 31, 11))


def _mix(x: np.ndarray) -> np.ndarray:
    """Scramble uint64 counters in place (the finaliser of SplitMix64)."""
    x ^= x >> _S30
    x *= _MIX_1
    x ^= x >> _S27
    x *= _MIX_2
    x ^= x >> _S31
    return x


@final
class Streams:
    """One random stream per copy, or for some of the copies a window on the same streams.

    Args:
        seeds: [n] integers >= 0; equal seeds give equal streams.

    Source: Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators; the seed is mixed twice so
    that neighbouring seeds start far apart.
    """

    def __init__(self, seeds: Iterable[int]) -> None:
        spread = _mix(np.array([int(s) % 2**64 for s in seeds], dtype=np.uint64) + _STRIDE)
        self.counters = _mix(spread + _STRIDE)
        self._rows: Any = slice(None)
        self._n = len(self.counters)

    def __len__(self) -> int:
        return self._n

    def at(self, rows: np.ndarray) -> Streams:
        """The streams of some copies ([k] distinct indices into this window); drawing there advances only those."""
        window = object.__new__(Streams)
        window.counters = self.counters
        window._rows = rows if isinstance(self._rows, slice) else self._rows[rows]
        window._n = len(rows)
        return window

    def uniforms(self, k: int) -> np.ndarray:
        """Draw [n, k] float64, uniform on [0, 1)."""
        ahead = self.counters[self._rows][:, None] + _STRIDE * np.arange(1, k + 1, dtype=np.uint64)
        self.counters[self._rows] = ahead[:, -1]
        return (_mix(ahead) >> _S11) * 2.0**-53

    def normals(self, k: int) -> np.ndarray:
        """Draw [n, k] float64, standard normal (Box and Muller's pairs; an odd k leaves the last one unused)."""
        pairs = (k + 1) // 2
        u = self.uniforms(2 * pairs)
        radius = np.sqrt(-2.0 * np.log1p(-u[:, :pairs]))
        angle = (2.0 * np.pi) * u[:, pairs:]
        np.multiply(radius, np.cos(angle), out=u[:, :pairs])
        np.multiply(radius, np.sin(angle), out=u[:, pairs:])
        return u[:, :k]
