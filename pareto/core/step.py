"""Forward and backward of one batch, with the loss inside the forward pass.

The body runs once. The head, the softmax and the loss run example by example chunk on a detached copy of the hidden
states, whose gradient is then sent through the body in one go: logits of one chunk are alive at a time and nothing is
computed twice. This is exact for losses that are sums over examples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pareto.core.logps import CHUNK_TOKENS, Scorer, target_logps
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.packing import PackedRows


def backward(
    scorer: Scorer,
    rows: PackedRows,
    index: Tensor,
    objective: Objective,
    *,
    divisor: float,
    chunk_tokens: int = CHUNK_TOKENS,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Add the gradient of sum(loss) / divisor to the parameters.

    Args:
        scorer: how to score with the model.
        rows: the packed batch of B examples.
        index: [B] int64, position of each example in the data set.
        objective: per-example loss.
        divisor: number of examples the whole optimiser step averages over.
        chunk_tokens: response tokens whose logits are alive at once.

    Returns:
        scalar loss (detached, sum / divisor) and metrics summed over the batch.
    """
    hidden = scorer.hidden(rows)
    leaf = hidden.detach().requires_grad_()
    total = torch.zeros((), device=hidden.device)
    figures: dict[str, Tensor] = {}
    for examples, tokens in _chunks(rows, chunk_tokens):
        with torch.enable_grad():
            loss, metrics = objective.loss(_score(scorer, rows, leaf, index, examples, tokens))
            summed = loss.sum() / divisor
        summed.backward()
        total += summed.detach()
        for name, value in metrics.items():
            figures[name] = figures.get(name, 0.0) + value.detach().sum()
    hidden.backward(leaf.grad)
    return total, figures


@torch.no_grad()
def evaluate(
    scorer: Scorer, rows: PackedRows, index: Tensor, objective: Objective, *, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """[B] per-example losses without gradients."""
    hidden = scorer.hidden(rows)
    parts = [
        objective.loss(_score(scorer, rows, hidden, index, e, t))[0] for e, t in _chunks(rows, chunk_tokens)
    ]
    return torch.cat(parts)


def _score(
    scorer: Scorer, rows: PackedRows, hidden: Tensor, index: Tensor, examples: slice, tokens: slice
) -> ScoredExamples:
    logps = target_logps(scorer, rows, hidden, tokens)
    lengths = rows.lengths[examples]
    response = rows.response[tokens] - examples.start * lengths.shape[1]
    summed = logps.new_zeros(lengths.numel()).index_add(0, response, logps)
    return ScoredExamples(logps, response, summed.view(lengths.shape), lengths.float(), index[examples])


def _chunks(rows: PackedRows, chunk_tokens: int) -> list[tuple[slice, slice]]:
    """(examples, tokens) slices of whole examples with at most `chunk_tokens` response tokens, or one example."""
    if len(rows.target) <= chunk_tokens:
        return [(slice(0, len(rows.lengths)), slice(0, len(rows.target)))]
    ends = rows.lengths.sum(1).cumsum(0).tolist()
    chunks, first, begin = [], 0, 0
    for i, end in enumerate(ends):
        if i + 1 == len(ends) or ends[i + 1] - begin > chunk_tokens:
            chunks.append((slice(first, i + 1), slice(begin, end)))
            first, begin = i + 1, end
    return chunks
