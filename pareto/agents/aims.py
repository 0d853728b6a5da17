"""What the policies of a population strive for, and how they are improved towards it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.agents.ppo import Batch, Learner, improve


class Aim(ABC):
    """A way to improve every policy of a population on a rollout."""

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Hear the mean returns [P, m] (NaN where unknown) and horizons [P] of the latest episodes, once per rollout."""
        return

    def weigh(self, advantages: Tensor) -> Tensor:
        """Advantages [P, N, m] of a rollout as this aim counts them, once per rollout; as they are unless samples differ."""
        return advantages

    @abstractmethod
    def improve(self, learner: Learner, batch: Batch) -> None:
        """Change the learner's policies in place."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """JSON-able facts that `load` takes back in the middle of a stage."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""


class Valued(Aim):
    """An aim that says what a little more of each objective is worth to each policy; PPO climbs that sum.

    The coefficients c [P, m] turn the advantages of all objectives into one, sum_j c_j A_j. For a weighted sum they are
    constant; for a constrained aim they are the derivatives of its objective at the surrogate returns
    G_j + H E[(ratio - 1) A_j], so that climbing follows the constrained objective's own gradient.
    """

    @abstractmethod
    def coefficients(self, change: Tensor) -> Tensor:
        """Worth of each objective, [P, m].

        Args:
            change: [P, m] E[(ratio - 1) A], the surrogate's change per step since the rollout.
        """

    def improve(self, learner: Learner, batch: Batch) -> None:
        """Epochs of clipped minibatch steps."""
        improve(learner, batch, self.coefficients)


@final
class Weighted(Valued):
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
