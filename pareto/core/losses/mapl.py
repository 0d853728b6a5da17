"""Multi-level preference learning: the response must follow its prompt, not only beat the other response."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs, required


@LOSSES.register(
    "mapl",
    source="Multi-level aware preference learning, arXiv 2505.12845; from memory of the opening text",
    status="unverified",
)
@needs("other_prompt")
def mapl(
    pairs: PairLogps, *, beta: float = 0.1, intra_weight: float = 1.0, inter_weight: float = 1.0
) -> Tensor:
    """DPO, and two comparisons with the same responses under a prompt that asks for less or something else.

        -log sigmoid(beta m(x))                                the pair under its own prompt x
        -log sigmoid(beta (lr(chosen | x) - lr(chosen | x')))  intra: the chosen response fits x better than x'
        -log sigmoid(beta (m(x) - m(x')))                      inter: the pair is clearer under x than under x'

    log Z(x) does not cancel between prompts: the intra term is a margin by rule of thumb, not a likelihood.

    Args:
        pairs: log-probabilities of B pairs with `other_prompt`.
        beta: > 0, 1/nats.
        intra_weight: >= 0 (not from the paper).
        inter_weight: >= 0 (not from the paper).

    Returns:
        [B] float, per-pair loss in nats, not reduced; (1 + intra_weight + inter_weight) ln 2 where policy equals
        reference.

    Source: arXiv 2505.12845, from memory; weights are this suite's.
    """
    other = required(pairs, "other_prompt")
    intra = pairs.chosen_ratio - other.chosen_ratio
    inter = pairs.gap - (other.chosen_ratio - other.rejected_ratio)
    return (
        -F.logsigmoid(beta * pairs.gap)
        - intra_weight * F.logsigmoid(beta * intra)
        - inter_weight * F.logsigmoid(beta * inter)
    )
