"""Running means and variances, one row per policy, so that a policy carries its own scales with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pareto.models.spaces import Observations

CLIP = 10.0
"""Scaled observations are cut to +-CLIP, as stored actors do."""


@dataclass
class Running:
    """Mean and variance of everything seen so far.

    Args:
        count: [P, 1] float64.
        mean: [P, k] float64.
        var: [P, k] float64, mean squared deviation.

    Source: Chan, Golub and LeVeque (1983), pairwise update.
    """

    count: Tensor
    mean: Tensor
    var: Tensor

    @classmethod
    def begin(cls, n_policies: int, k: int) -> Running:
        """Nothing seen yet: mean 0, variance 1."""
        zeros = torch.zeros(n_policies, k, dtype=torch.float64)
        return cls(zeros[:, :1].clone(), zeros.clone(), torch.ones_like(zeros))

    def add(self, values: Tensor) -> None:
        """Take in values [P, B, k]."""
        values = values.double()
        n = float(values.shape[1])
        mean, var = values.mean(dim=1), values.var(dim=1, unbiased=False)
        total = self.count + n
        delta = mean - self.mean
        spread = self.var * self.count + var * n + delta**2 * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.var = spread / total
        self.count = total

    def rows(self, which: Tensor) -> Running:
        """Copies of some policies' rows."""
        return Running(self.count[which].clone(), self.mean[which].clone(), self.var[which].clone())

    @property
    def std(self) -> Tensor:
        """[P, k] standard deviation, at least 1e-4."""
        return self.var.sqrt().clamp_min(1e-4)


@dataclass(frozen=True)
class Bounds:
    """Which parts of an observation have finite bounds, and how they map onto [-1, 1].

    Args:
        finite: [d] bool.
        offset: [d] middle of the bounds, 0 where there are none.
        scale: [d] 2 / width, 1 where there are none.
    """

    finite: np.ndarray
    offset: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, observations: Observations) -> Bounds:
        """The bounds of encoded observations that are vectors; only those of a Box are known, wider than 1e6 counts as none."""
        d = observations.shape[0]
        low, high = np.full(d, -np.inf), np.full(d, np.inf)
        if isinstance(observations.space, spaces.Box):
            low, high = (
                np.asarray(x, dtype=np.float64).reshape(-1)
                for x in (observations.space.low, observations.space.high)
            )
        finite = (high > low) & (high - low < 1e6)
        low, high = np.where(finite, low, -1.0), np.where(finite, high, 1.0)
        return cls(finite, (low + high) / 2, 2 / (high - low))
