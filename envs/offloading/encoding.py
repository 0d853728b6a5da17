"""What is observed: for every server a row of scaled features, then the histogram of its residual sizes.

A row holds what the paper's state holds (task size, rate, frequency, number of tasks, number of edge servers,
histogram) and four numbers more: the queue behind the task, the slots since the episode began (an episode is finite: the
last tasks meet nobody after them), and what choosing the server would cost at once, in delay and in energy. The last two
follow from exact residuals, so that whoever learns from observations knows all that the greedy rule knows, not only
residuals to the width of a bin. Rows of absent servers are -1 throughout.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from gymnasium import spaces

FEATURES: Final = {
    "size": 1e7,  # bit, of the task to be placed; the same in every row
    "rate": 1e9,  # bit/s, between the task's user and this server
    "frequency": 1e9,  # Hz
    "tasks": 10.0,  # tasks on this server
    "edges": 10.0,  # edge servers in the system; the same in every row
    "backlog": 10.0,  # tasks waiting to be decided; the same in every row
    "elapsed": 100.0,  # slots since the episode began; the same in every row
    "delay": 10.0,  # s, added to all tasks' delays by placing the task here
    "energy": 0.1,  # J, for placing the task here
}
"""Name of each leading column -> what 1.0 in it stands for."""

COLUMN: Final = {name: i for i, name in enumerate(FEATURES)}
"""Name of each leading column -> its index."""

HEAD: Final = len(FEATURES)
"""Columns before the histogram."""

ABSENT: Final = -1.0
LARGEST: Final = 1e6
"""Features saturate here; no state of a sane configuration comes near."""


def space(servers: int, bins: int) -> spaces.Box:
    """Box [S, HEAD + N] float32."""
    return spaces.Box(ABSENT, LARGEST, (servers, HEAD + bins), np.float32)


def encode(
    *,
    residual: np.ndarray,
    frequency_hz: np.ndarray,
    size_bits: np.ndarray,
    rate_bps: np.ndarray,
    backlog: np.ndarray,
    elapsed_slots: np.ndarray,
    cost: np.ndarray,
    bins: int,
    bin_bits: float,
) -> np.ndarray:
    """Build the observations.

    Args:
        residual: [Q, S, n] bits, zeros where there is no task.
        frequency_hz: [S, n] Hz, 0 where there is no server.
        size_bits: [n] bits.
        rate_bps: [S, n] bit/s.
        backlog: [n] tasks.
        elapsed_slots: [n] slots.
        cost: [2, S, n] delay in s and energy in J of each choice.
        bins: N.
        bin_bits: width of a bin, bit; the last bin is open.

    Returns:
        [n, S, HEAD + N] float32.
    """
    _, servers, n = residual.shape
    tasks = (residual > 0).sum(axis=0, dtype=np.int32)
    present = frequency_hz > 0
    edges = present.sum(axis=0) - 1
    values = (size_bits, rate_bps, frequency_hz, tasks, edges, backlog, elapsed_slots, cost[0], cost[1])
    head = np.empty((HEAD, servers, n))
    for row, value, unit in zip(head, values, FEATURES.values()):
        np.divide(value, unit, out=row)
    observation = _histogram(residual, bins, bin_bits)
    observation[:, :, :HEAD] = np.minimum(head, LARGEST, out=head).T
    if not present.all():
        observation[~present.T] = ABSENT
    return observation


def _histogram(residual: np.ndarray, bins: int, bin_bits: float) -> np.ndarray:
    """Count residuals in [n, S, HEAD + N] float32; the leading columns are left at 0."""
    _, servers, n = residual.shape
    width = HEAD + bins
    counts = np.zeros((n, servers, width), dtype=np.float32)
    first = HEAD + width * (
        np.arange(n) * servers + np.arange(servers)[:, None]
    )  # column 0 of each histogram
    task = np.flatnonzero(residual > 0)
    bin_index = np.minimum(residual.reshape(-1)[task] / bin_bits, bins - 1).astype(np.int64)
    np.add.at(counts.reshape(-1), first.reshape(-1)[task % first.size] + bin_index, np.float32(1))
    return counts


def feature(observations: np.ndarray, name: str) -> np.ndarray:
    """Read one column [..., S] back in its unit, float64; absent servers give minus one unit."""
    return observations[..., COLUMN[name]].astype(np.float64) * FEATURES[name]


def present(observations: np.ndarray) -> np.ndarray:
    """Which servers there are: [..., S] bool, the mask of legal actions."""
    return observations[..., COLUMN["frequency"]] > 0
