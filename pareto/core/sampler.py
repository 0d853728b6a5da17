"""Which examples are in which step: seeded, resumable at any step, similar lengths together."""

from __future__ import annotations

import numpy as np

from pareto import rng

WINDOW_BATCHES = 32
"""Batches are cut from windows of this many batches sorted by length: nearly all of sorting's gain, little of its bias."""


def epoch_batches(lengths: np.ndarray, batch_size: int, *, seed: int, epoch: int) -> list[np.ndarray]:
    """All full batches of one epoch.

    Args:
        lengths: [n] int64, cost of each example; equal lengths give a plain shuffle.
        batch_size: examples per batch; a last incomplete batch is left out unless it is the only one.
        seed: order seed; the same seed gives the same order whatever is trained, so runs are paired.
        epoch: counts from 0.

    Returns:
        list of [batch_size] int64 arrays of example indices.
    """
    draw = rng.generator("order", seed, epoch)
    order = draw.permutation(len(lengths))
    if len(order) <= batch_size:
        return [order]
    order = order[: len(order) // batch_size * batch_size]
    window = batch_size * WINDOW_BATCHES
    for start in range(0, len(order), window):
        part = order[start : start + window]
        order[start : start + window] = part[np.argsort(lengths[part], kind="stable")]
    batches = order.reshape(-1, batch_size)
    return list(batches[draw.permutation(len(batches))])


class Sampler:
    """Batches by global step; any step can be asked for first, so resuming needs no state."""

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self._epoch, self._batches = 0, epoch_batches(lengths, batch_size, seed=seed, epoch=0)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return len(self._batches)

    def batch(self, step: int) -> np.ndarray:
        """[batch_size] int64 example indices of a step counted from 0."""
        epoch, i = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._batches = epoch_batches(self._lengths, self._batch_size, seed=self._seed, epoch=epoch)
            self._epoch = epoch
        return self._batches[i]
