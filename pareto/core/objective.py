"""What the loop minimises: a per-example loss of scored responses, and what it needs besides their log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

if TYPE_CHECKING:
    from pareto.core.packing import PackedRows


@dataclass(frozen=True)
class ScoredExamples:
    """What a loss sees of some examples of a batch.

    Args:
        token_logps: [n] float32, nats, response tokens one after the other.
        token_response: [n] int64 in 0..B*K-1, ascending.
        logps: [B, K] float32, sums over response tokens.
        lengths: [B, K] float32, response tokens.
        index: [B] int64, position of each example in the data set.
        extras: name -> [n], what the objective's `TokenExtra`s made of the logits of the same tokens. In training they
            carry gradients: a loss that wants the figure alone detaches it, and then pays for no second look.
    """

    token_logps: Tensor
    token_response: Tensor
    logps: Tensor
    lengths: Tensor
    index: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)


class TokenExtra(Protocol):
    """A figure of every response token that only the whole distribution can give (entropy, KL to the reference).

    Nobody pays for what is not asked for: extras are worked out chunk by chunk while the logits are alive.
    """

    def prepare(self, rows: PackedRows) -> Any:
        """Look at the rows of a micro-batch once, before its chunks; what it returns is given back with every chunk."""
        ...

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] float32 logits of the response tokens in `tokens` -> [n]."""
        ...


LossFunction = Callable[[ScoredExamples], tuple[Tensor, Mapping[str, Tensor]]]
"""Scored examples -> ([B] loss in nats, not reduced; {metric: [B]} without gradient)."""


@dataclass(frozen=True)
class Objective:
    """A loss and its needs.

    Args:
        loss: per-example loss; a sum over examples unless `coupled`.
        coupled: the loss looks across the examples of a micro-batch (a sort, a baseline), so that it can only be worked
            out once all of them are scored: two passes over the head instead of one, where the head is trained.
        extras: name -> figure of every response token that the loss wants to see.
        module: learned part of the loss and its state. Its parameters are trained beside the model's and its
            `state_dict` is in every checkpoint.
        layout: (rows, [B] numbers of their examples) -> what is scored in their place: more examples, or more responses of
            each (`pareto.core.layout`). The loss is averaged over the B that there were.
    """

    loss: LossFunction
    coupled: bool = False
    extras: Mapping[str, TokenExtra] = field(default_factory=dict)
    module: nn.Module | None = None
    layout: Callable[[PackedRows, Tensor], tuple[PackedRows, Tensor]] = lambda rows, index: (rows, index)
