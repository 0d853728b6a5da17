"""What a rule of mixing next-token distributions is, and the registry of rules; they are written in `pareto.steer.rules`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pareto.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """One mixing rule.

    Args:
        mix: ([K, ..., V] float32 log-probabilities, [K, ...] weights, [..., V] reference log-probabilities or None) ->
            [..., V] float32 logits of the mixture.
        needs_reference: whether the reference takes part although the weights sum to 1.
        signed: whether weights may be negative.
    """

    mix: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    needs_reference: bool = False
    signed: bool = False


RULES: Registry[Callable[..., Rule]] = Registry("mixing rule", "pareto.steer")
"""Divergence -> function (options) -> `Rule`."""
