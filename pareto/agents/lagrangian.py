"""C-MORL's constrained extension with multipliers steered like a PID controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.aims import Valued


@final
class PIDLagrangian(Valued):
    """Climb G_l; every other return has a multiplier that rises while it is below its threshold.

    With the violation e_i = (floor_i - G_i) / span_i after each rollout:
    lambda_i = max(0, Kp e_i + Ki I_i + Kd max(0, e_i - e_i before)), I_i = max(0, I_i + e_i) up to `most`.
    Coefficients are (1 for l, lambda_i for the others) / span, divided by 1 + sum lambda.

    Args:
        objectives: [P] which return each policy climbs.
        floors: [P, m] thresholds.
        spans: [m] > 0.
        gains: (Kp, Ki, Kd).
        most: largest integral.

    Source: Stooke, Achiam and Abbeel (2020), PID Lagrangian methods; in place of C-MORL's barrier.
    """

    def __init__(
        self,
        objectives: np.ndarray,
        floors: np.ndarray,
        spans: np.ndarray,
        gains: tuple[float, float, float],
        most: float = 10.0,
    ) -> None:
        self._climbs = np.eye(floors.shape[1], dtype=bool)[objectives]
        self._floors, self._spans, self._gains, self._most = floors, spans, gains, most
        self._sum = np.zeros_like(floors)
        self._before = np.zeros_like(floors)
        self._multipliers = np.zeros_like(floors)

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Move the multipliers once per rollout; a return that is not known yet moves nothing."""
        kp, ki, kd = self._gains
        off = np.where(np.isfinite(returns), (self._floors - returns) / self._spans, 0.0)
        self._sum = np.clip(self._sum + off, 0.0, self._most)
        rise = np.maximum(off - self._before, 0.0)
        self._multipliers = np.maximum(kp * off + ki * self._sum + kd * rise, 0.0)
        self._before = off

    def coefficients(self, change: Tensor) -> Tensor:
        """Multipliers in the rewards' units, [P, m]."""
        worth = np.where(self._climbs, 1.0, self._multipliers)
        worth = worth / worth.sum(axis=1, keepdims=True) / self._spans
        return torch.as_tensor(worth, dtype=torch.float32)

    def state(self) -> dict[str, Any]:
        """Integrals, last violations and multipliers."""
        return {
            "sum": self._sum.tolist(),
            "before": self._before.tolist(),
            "multipliers": self._multipliers.tolist(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._sum = np.array(state["sum"])
        self._before = np.array(state["before"])
        self._multipliers = np.array(state["multipliers"])
