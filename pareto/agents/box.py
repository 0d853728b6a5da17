"""Climbing the volume of a policy's own box, from the reference point to its returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.aims import Valued


@final
class Box(Valued):
    """Climb log prod_j (G_j - r_j): the hypervolume that a policy alone dominates.

    The coefficients are d/dG_j = 1 / (G_j - r_j) at the latest returns, so that an objective counts the more the nearer the
    policy is to the reference point in it. A return at or below it counts as a hundredth of the anchor's distance above.

    Args:
        anchors: [P, m] returns of the policies at their start; stand in until episodes have finished.
        ref_point: [m] r, larger is better.

    Source: the hypervolume gradient of a single point (Emmerich and Deutz, 2014).
    """

    def __init__(self, anchors: np.ndarray, ref_point: np.ndarray) -> None:
        self._ref = torch.as_tensor(ref_point, dtype=torch.float32)
        self._returns = torch.as_tensor(anchors, dtype=torch.float32).clone()
        self._least = 0.01 * (self._returns - self._ref).abs().clamp_min(1e-6)

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Take the latest returns."""
        latest = torch.as_tensor(returns, dtype=torch.float32)
        self._returns = torch.where(torch.isfinite(latest), latest, self._returns)

    def coefficients(self, change: Tensor) -> Tensor:
        """1 / (G - r), [P, m]."""
        return 1.0 / torch.maximum(self._returns - self._ref, self._least)

    def state(self) -> dict[str, Any]:
        """The latest returns."""
        return {"returns": self._returns.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._returns = torch.tensor(state["returns"])
