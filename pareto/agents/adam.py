"""Adam on the stacked parameters of a population: one set of operations for all policies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST = 1e-36
"""Second moments are held here: roots of subnormal numbers take ten times as long, and beside `eps` this is nothing."""


@dataclass
class Adam:
    """First and second moments of [P, n] parameters.

    Args:
        first: [P, n].
        second: [P, n].
        steps: taken so far; all policies of a population step together.

    Source: Kingma and Ba (2015); eps 1e-5 as in PPO's reference code.
    """

    first: Tensor
    second: Tensor
    steps: int = 0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-5

    @classmethod
    def begin(cls, parameters: Tensor) -> Adam:
        """Moments of zero."""
        return cls(torch.zeros_like(parameters), torch.zeros_like(parameters))

    def step(self, parameters: Tensor, gradient: Tensor, lr: float, max_norm: float) -> None:
        """Clip every policy's gradient on its own and step, in place.

        Args:
            parameters: [P, n].
            gradient: [P, n]; overwritten.
            lr: learning rate.
            max_norm: largest Euclidean norm of one policy's gradient.
        """
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        gradient.mul_((max_norm / (norm + 1e-6)).clamp_max_(1.0))
        self.steps += 1
        b1, b2 = self.betas
        self.first.lerp_(gradient, 1 - b1)
        self.second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        c1, c2 = 1 - b1**self.steps, 1 - b2**self.steps
        self.second.clamp_min_(SMALLEST)
        denominator = self.second.sqrt().mul_(c2**-0.5).add_(self.eps)
        parameters.addcdiv_(self.first, denominator, value=-lr / c1)
