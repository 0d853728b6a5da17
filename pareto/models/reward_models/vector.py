"""Several rewards as one vector, and what a weight vector makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, final

import numpy as np

from pareto.data.texts import Text, plain
from pareto.errors import ObjectiveError, SimplexError
from pareto.models.rewards import Reward, evaluate

Rule = Literal["sum", "worst"]
"""Weighted sum, or the worst of the objectives that have a weight."""


class ReplyRewards(Protocol):
    """What says how good replies are so far, finished or not; larger is better."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the m numbers."""
        ...

    def of_replies(self, prompts: Sequence[Text], replies: Sequence[str]) -> np.ndarray:
        """[B, m] float64."""
        ...


@final
@dataclass(frozen=True)
class NamedRewards:
    """Registered rewards, one an objective, applied to what there is of a reply.

    Args:
        rewards: objective -> reward; one that is minimised counts with the other sign.
    """

    rewards: Mapping[str, Reward]

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of the numbers."""
        return tuple(self.rewards)

    def of_replies(self, prompts: Sequence[Text], replies: Sequence[str]) -> np.ndarray:
        """[B, m] scores, larger is better."""
        texts = [plain(p) for p in prompts]
        columns = [
            (1.0 if own.direction == "max" else -1.0) * evaluate(own, texts, replies)
            for own in self.rewards.values()
        ]
        return np.column_stack(columns)


@final
@dataclass(frozen=True)
class RewardVector:
    """Reward models side by side, in the order in which a run names its objectives.

    Args:
        parts: each with objectives of its own.
        objectives: all of them, in the wanted order.
    """

    parts: tuple[ReplyRewards, ...]
    objectives: tuple[str, ...]

    def __post_init__(self) -> None:
        have = [name for part in self.parts for name in part.objectives]
        if sorted(have) != sorted(self.objectives):
            raise ObjectiveError(
                f"reward models must score each of {', '.join(self.objectives)} once; together they score "
                f"{', '.join(have) or 'nothing'}"
            )

    def of_replies(self, prompts: Sequence[Text], replies: Sequence[str]) -> np.ndarray:
        """[B, m] in the order of `objectives`."""
        have = [name for part in self.parts for name in part.objectives]
        scores = np.concatenate([part.of_replies(prompts, replies) for part in self.parts], axis=1)
        return scores[:, [have.index(name) for name in self.objectives]]


def scalarised(scores: np.ndarray, weights: np.ndarray, rule: Rule) -> np.ndarray:
    """What replies are worth under weights.

    Args:
        scores: [n, m], larger is better.
        weights: [n, m] or [m]; on the simplex or, for a sum, a direction.
        rule: "sum": w.s; "worst": the smallest s_j among objectives with a weight, which wants scores of one unit.

    Returns:
        [n].

    Raises:
        SimplexError: a negative weight for "worst", or no weight at all.

    Source: Li et al. (2025), arXiv 2510.01167, guided decoding, whose code takes one score; the worst case is of "Robust
    multi-objective decoding" (arXiv 2503.08796), there with weights that are solved for.
    """
    w = np.broadcast_to(np.asarray(weights, dtype=np.float64), scores.shape)
    if rule == "sum":
        return (w * scores).sum(1)
    if (w < 0).any() or not (w > 0).any(axis=1).all():
        raise SimplexError("the worst of several objectives needs weights >= 0 and one at least above it")
    return np.where(w > 0, scores, np.inf).min(1)
