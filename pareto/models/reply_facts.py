"""What can be said of any text policy's replies: length, entropy, variety, divergence from the reference."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from pareto.core.logps import batches_by_tokens, make_scorer
from pareto.core.packing import pack
from pareto.data.pairs import ResponseTable

CHUNK_LOGITS = 2**25
"""Logits that are alive at once, of each model."""


@torch.no_grad()
def entropies_and_divergences(
    model: Any, table: ResponseTable, reference: Any = None, *, batch_tokens: int = 4096
) -> tuple[np.ndarray, np.ndarray]:
    """Entropy and divergence of the next token, at every token of some responses.

    Summed over a response drawn from the policy, the divergences estimate KL(policy || reference) of whole responses
    without bias, and with less variance than the log-ratio of the response: each term is the expectation of its part of
    the log-ratio, given what came before.

    Args:
        model: the policy, on its device.
        table: prompts and responses drawn from it.
        reference: the reference model; None for a policy with adapters, which is its own reference without them.
        batch_tokens: padded tokens per forward pass.

    Returns:
        ([n_tokens], [n_tokens]) float64, nats, aligned with `table.responses.flat`.
    """
    scorer = make_scorer(model)
    ref_scorer = scorer if reference is None else make_scorer(reference)
    device = next(model.parameters()).device
    entropy, divergence = np.zeros(len(table.responses.flat)), np.zeros(len(table.responses.flat))
    for batch in batches_by_tokens(table, np.arange(len(table.responses)), batch_tokens):
        rows = pack(
            table, batch[:, None], pad_token_id=scorer.pad_token_id, share_prompts=False, device=device
        )
        hidden = scorer.hidden(rows)
        with _without_adapters(model, reference):
            ref_hidden = ref_scorer.hidden(rows)
        begin, end = table.responses.offsets[batch].tolist(), table.responses.offsets[batch + 1].tolist()
        where = np.concatenate([np.arange(b, e) for b, e in zip(begin, end)])
        step = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
        for start in range(0, len(rows.source), step):
            source = rows.source[start : start + step]
            p = scorer.head(hidden[source]).float().log_softmax(-1)
            with _without_adapters(model, reference):
                q = ref_scorer.head(ref_hidden[source]).float().log_softmax(-1)
            at = where[start : start + step]
            entropy[at] = -(p.exp() * p).sum(-1).cpu().numpy()
            divergence[at] = (p.exp() * (p - q)).sum(-1).cpu().numpy()
    return entropy, divergence


def distinct_2(texts: Sequence[str]) -> float:
    """Share of distinct pairs of neighbouring words among all of them, over all texts; 0 where there are none.

    Source: Li et al. (2016), arXiv 1510.03055, distinct-2.
    """
    bigrams = [b for text in texts for b in pairwise(text.split())]
    return len(set(bigrams)) / len(bigrams) if bigrams else 0.0


@contextlib.contextmanager
def _without_adapters(model: Any, reference: Any) -> Iterator[None]:
    if reference is None:
        with model.disable_adapter():
            yield
    else:
        yield
