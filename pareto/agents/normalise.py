"""Running means and variances, one row per policy, so that a policy carries its own scales with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

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

    def affine(self, p: int) -> tuple[np.ndarray, np.ndarray]:
        """(offset [k], scale [k]) that normalise what policy p sees: (x - offset) * scale; (0, 1) where it has seen nothing."""
        if float(self.count[p]) <= 1:
            return np.zeros(self.mean.shape[1]), np.ones(self.mean.shape[1])
        return self.mean[p].numpy(), (1 / self.std[p]).numpy()
