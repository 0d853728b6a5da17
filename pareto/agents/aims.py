"""What the policies of a population strive for: how much a little more of each objective is worth to each of them.

An aim turns what is known of the returns into coefficients c [P, m]; the update then climbs sum_j c_j E[ratio A_j]. For a
weighted sum they are constant; for a constrained aim they are the derivatives of its objective at the surrogate returns
G_j + H E[(ratio - 1) A_j], so that climbing follows the constrained objective's own gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor


class Aim(ABC):
    """The coefficients of every policy's surrogate."""

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Hear the mean returns [P, m] (NaN where unknown) and horizons [P] of the latest episodes, once per rollout."""
        return

    def weigh(self, advantages: Tensor) -> Tensor:
        """Advantages [P, N, m] of a rollout as this aim counts them, once per rollout; as they are unless samples differ."""
        return advantages

    @abstractmethod
    def coefficients(self, change: Tensor) -> Tensor:
        """Worth of each objective, [P, m].

        Args:
            change: [P, m] E[(ratio - 1) A], the surrogate's change per step since the rollout.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """JSON-able facts that `load` takes back in the middle of a stage."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""


@final
class Weighted(Aim):
    """A fixed weighted sum per policy: w.G.

    Args:
        weights: [P, m].
    """

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = torch.as_tensor(weights, dtype=torch.float32)

    def coefficients(self, change: Tensor) -> Tensor:
        """The weights."""
        return self._weights

    def state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:
        """Nothing changed."""
