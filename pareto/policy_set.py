"""Policy protocols and the PolicySet: ordered policies, their value matrix, where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pareto.objectives import Objectives


@runtime_checkable
class TextPolicy(Protocol):
    """A language-model policy."""

    objectives: Objectives

    def generate(
        self, prompts: Sequence[str], *, max_new_tokens: int = 64, seed: int = 0, temperature: float = 1.0
    ) -> list[str]:
        """One reply per prompt; the reply to a prompt does not depend on its neighbours in the batch."""
        ...

    def logps(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """[B] float64, nats: log-probability of each response (with its end token) given its prompt."""
        ...


@runtime_checkable
class ActPolicy(Protocol):
    """A control policy."""

    objectives: Objectives

    def act(self, observation: Any) -> Any:
        """An action for one observation."""
        ...
