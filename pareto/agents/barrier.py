"""C-MORL's constrained extension as an interior-point barrier on surrogate returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.aims import Valued


def thresholds(anchors: np.ndarray, spans: np.ndarray, beta: float | np.ndarray) -> np.ndarray:
    """What a policy that is extended must still reach: G - (1 - beta) max(|G|, span), per objective.

    For positive returns far from 0 it is the paper's beta G; it is below G for negative and for zero returns too.

    Args:
        anchors: [..., m] returns G of the policies that are extended.
        spans: [m] > 0, the range of each objective over the archive, not less than 1e-3 of the reference range.
        beta: in [0, 1], one number or [m].
    """
    return anchors - (1.0 - beta) * np.maximum(np.abs(anchors), spans)


@final
class Barrier(Valued):
    """Climb G_l while a logarithmic barrier keeps every other return above its threshold.

        J = g_l + (1/t) sum_{i != l} psi(s_i),  s_i = (G_i - threshold_i) / span_i,  g_l = G_l / span_l,

    psi(s) = log s where s >= 1/t^2, and its tangent there below, so that a policy that noise has put outside is led back in.
    G is the surrogate return: the measured one plus H E[(ratio - 1) A], H = E[sum_t gamma^t]. The coefficients are dJ/dG:
    1/span_l and min(1/(t s_i), t)/span_i.

    Args:
        objectives: [P] which return each policy climbs.
        anchors: [P, m] returns of the policies at their start; stand in until episodes have finished.
        floors: [P, m] thresholds.
        spans: [m] > 0.
        t: > 0, sharpness.

    Source: Liu et al. (2025), C-MORL, Eq. 3 and its interior-point form, t 20; the tangent is Kervadec et al. (2019), log-barrier
    extensions. The released code multiplies a batch's mean return by the ratio, whose expected gradient is zero, and clamps
    negative returns to a constant; here the constrained return is a surrogate with advantages, anchored at the policy that
    is extended.
    """

    def __init__(
        self, objectives: np.ndarray, anchors: np.ndarray, floors: np.ndarray, spans: np.ndarray, t: float
    ) -> None:
        p, m = anchors.shape
        self._climbs = torch.nn.functional.one_hot(torch.as_tensor(objectives), m).bool()
        self._spans = torch.as_tensor(spans, dtype=torch.float32)
        self._floors = torch.as_tensor(floors, dtype=torch.float32)
        self._returns = torch.as_tensor(anchors, dtype=torch.float32).clone()
        self._horizon = torch.ones(p, 1)
        self._t = t

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Anchor the surrogate at the latest returns."""
        latest = torch.as_tensor(returns, dtype=torch.float32)
        self._returns = torch.where(torch.isfinite(latest), latest, self._returns)
        self._horizon = torch.as_tensor(horizon, dtype=torch.float32)[:, None]

    def coefficients(self, change: Tensor) -> Tensor:
        """DJ/dG at the surrogate returns, [P, m]."""
        slack = (self._returns + self._horizon * change - self._floors) / self._spans
        steep = (1.0 / (self._t * slack.clamp_min(1e-12))).clamp_max(self._t)
        return torch.where(self._climbs, torch.ones_like(slack), steep) / self._spans

    def state(self) -> dict[str, Any]:
        """The returns the surrogate is anchored at."""
        return {"returns": self._returns.tolist(), "horizon": self._horizon.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._returns = torch.tensor(state["returns"])
        self._horizon = torch.tensor(state["horizon"])
