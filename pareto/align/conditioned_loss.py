"""The loss of one policy at many weights: DPO at the corners, and what must follow from them in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses.mass_anchor import LARGEST_LOG_RATIO
from pareto.core.objective import ScoredExamples

Inner = Literal["distance", "margin"]
LEAST_WEIGHT = 0.05
"""What MODPO's loss divides by is never less: its gradient there would be that of the margins' rounding."""


@final
@dataclass(frozen=True)
class ConditionedLoss:
    """Scored examples -> per-pair loss, nats; every response is seen under m corners and then under S sampled weights.

    With g(w) = beta (rho_w(a) - rho_w(b)), rho_w = log pi_w / pi_ref, and y_j = 1 where a wins under objective j, -1 where b:

        corner j:        -log sigmoid(y_j g(e_j))
        w, "distance":   CE(sigmoid(t), sigmoid(g(w))),  t = sum_j w_j r_j,  r_j = g(e_j) without gradient, or the given gap
        w, "margin":     sum_j w_j (-log sigmoid(y_j (g(w) - sum_{i != j} w_i r_i) / w_j))

    CE is cross-entropy of two coins. Its only minimum is g(w) = t, so that with the corners at theirs (DPO's: g(e_j) is the
    difference of objective j's rewards) the policy is  pi_ref exp(w.r / beta)  at every w. The gradient of "distance" has
    no noise of labels in it. The gap of a pair that the loss cares most for is one near 0, as in DPO itself.

    Where gaps are given, corners are drawn to them likewise, and labels are read by "margin" alone. The mean over views is
    taken: each view counts the same.

    Args:
        ref_logps: [n, 2] float32, nats, of responses a and b.
        labels: [n, m] float32: 1, -1, 0 for a tie, NaN where unknown; the last two say nothing here.
        weights: [n, S, m] float32, the sampled ones.
        gaps: [n, m] float32 rewards of a less those of b, NaN where unknown; or None.
        beta: > 0, 1/nats.
        inner: form of the loss between the corners.
        mass_anchor: >= 0, weight of -mean(pi_w / pi_ref) over responses and views.
    """

    ref_logps: Tensor
    labels: Tensor
    weights: Tensor
    gaps: Tensor | None
    beta: float
    inner: Inner = "distance"
    mass_anchor: float = 0.0

    def __call__(self, scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
        """[B] loss, and metrics."""
        i, m = scored.index, self.labels.shape[1]
        ratio = scored.logps.view(len(i), 2, -1) - self.ref_logps[i][:, :, None]  # [B, 2, m + S]
        gap = self.beta * (ratio[:, 0] - ratio[:, 1])
        corner, inner = gap[:, :m], gap[:, m:]
        own = self._corners(corner, i)
        between = self._between(inner, corner, i)
        known = torch.isfinite(own)
        losses = torch.cat([own.nan_to_num(0.0), between], dim=1)
        counted = known.sum(1) + between.shape[1]
        total = losses.sum(1) / counted
        metrics = {
            "loss/corners": own.detach().nan_to_num(0.0).sum(1) / known.sum(1).clamp(min=1),
            "loss/inner": between.detach().mean(1),
            "rewards/accuracies": self._accuracy(corner.detach(), i),
        }
        if self.mass_anchor:
            mass = ratio.clamp(max=LARGEST_LOG_RATIO).exp().mean((1, 2))
            total = total - self.mass_anchor * mass
            metrics["mass"] = mass.detach()
        return total, metrics

    def _corners(self, corner: Tensor, i: Tensor) -> Tensor:
        """[B, m], NaN where nothing is known."""
        if self.gaps is not None:
            gaps = self.gaps[i]
            return torch.where(gaps.isnan(), torch.nan, _coins(corner, gaps.nan_to_num(0.0)))
        y = self.labels[i].nan_to_num(0.0)
        return torch.where(y == 0, torch.nan, -F.logsigmoid(y * corner))

    def _between(self, inner: Tensor, corner: Tensor, i: Tensor) -> Tensor:
        """[B, S]; where a given gap is unknown, the corner's own stands in its place."""
        w = self.weights[i]
        r = corner.detach()
        if self.gaps is not None:
            r = torch.where(self.gaps[i].isnan(), r, self.gaps[i])
        target = (w * r[:, None]).sum(-1)
        if self.inner == "distance":
            return _coins(inner, target)
        y = self.labels[i].nan_to_num(0.0)[:, None]
        rest = target[..., None] - w * r[:, None]
        each = -F.logsigmoid(y * (inner[..., None] - rest) / w.clamp(min=LEAST_WEIGHT))
        return (w * (y != 0) * each).sum(-1)

    def _accuracy(self, corner: Tensor, i: Tensor) -> Tensor:
        """[B] share of the labels that the corners' implicit rewards agree with."""
        y = self.labels[i].nan_to_num(0.0)
        return ((corner * y > 0) & (y != 0)).sum(1) / (y != 0).sum(1).clamp(min=1)


def _coins(gap: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy between coins that fall with probabilities sigmoid(target) and sigmoid(gap)."""
    return F.binary_cross_entropy_with_logits(gap, torch.sigmoid(target), reduction="none")
