"""Supervised fine-tuning on the chosen response."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs


@LOSSES.register("sft", source="standard maximum likelihood; as loss_type 'sft' of TRL")
@needs(reference=False)
def sft(pairs: PairLogps, *, average: bool = True) -> Tensor:
    """Negative log-likelihood of the chosen response.

    Args:
        pairs: log-probabilities of B pairs; only the chosen ones are read.
        average: divide by the number of response tokens.

    Returns:
        [B] float, per-pair loss in nats (per token when averaged), not reduced.

    Source: maximum likelihood; difference from TRL: the mean is over each response's own tokens and not over the
    micro-batch, so gradient accumulation does not change it.
    """
    return -(pairs.chosen_mean if average else pairs.chosen_logps)
