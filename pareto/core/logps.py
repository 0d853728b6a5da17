"""Token log-probabilities of responses: the interface everything above is built on.

Hidden states are computed for whole rows, the language-model head only where a response token is predicted, and the
softmax in chunks, so that logits of shape [B, T, V] never exist. Sums are float32 whatever the model's dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto.core.packing import PackedRows, pack
from pareto.data.pairs import Ragged, ResponseTable

CHUNK_TOKENS = 4096
"""Response tokens whose logits are alive at once."""


@dataclass(frozen=True)
class Scorer:
    """How to get log-probabilities out of one model.

    Args:
        hidden: PackedRows -> [R * T, d] hidden states before the head.
        head: [N, d] -> [N, V] float logits.
        share_prompts: whether block-masked rows give what separate rows give.
        pad_token_id: a valid token id for padding.
    """

    hidden: Callable[[PackedRows], Tensor]
    head: Callable[[Tensor], Tensor]
    share_prompts: bool
    pad_token_id: int


def make_scorer(model: Any) -> Scorer:
    """Look at a Hugging Face causal model (or a PEFT model around one) and say how to score with it.

    The split into body and head, and prompt sharing, are tried on a few tokens against the model's own forward pass;
    what does not reproduce it (to 1e-3 in log-probability, or a twentieth of their spread in half precision) is not
    used. So recurrent and sliding-window models fall back to separate rows, and heads with scaling or soft-capping that
    we do not know fall back to the model's full logits.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    pad = base.config.pad_token_id if base.config.pad_token_id is not None else 0
    sharing = (True, False) if _sees_everything(base) else (False,)
    candidates = [Scorer(_body_of(base), _head_of(base), share, pad) for share in sharing]
    candidates.append(
        Scorer(lambda rows: _call(base, rows).logits.flatten(0, 1), lambda logits: logits.float(), False, pad)
    )
    table = _probe_table(base.config.get_text_config().vocab_size)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        rows = _pack_probe(candidates[-1], table, model)
        want = target_logps(candidates[-1], rows, candidates[-1].hidden(rows))
        exact = next(model.parameters()).dtype in (torch.float32, torch.float64)
        tolerance = 1e-3 if exact else 0.05 * float(want.std())
        for scorer in candidates[:-1]:
            try:
                rows = _pack_probe(scorer, table, model)
                got = target_logps(scorer, rows, scorer.hidden(rows))
            except (TypeError, ValueError, RuntimeError, AttributeError):
                continue  # this architecture does not take the call; the next, plainer candidate will
            if torch.allclose(got, want, atol=tolerance):
                break
        else:
            scorer = candidates[-1]
    model.train(was_training)
    return scorer


def _call(module: Any, rows: PackedRows) -> Any:
    return module(
        input_ids=rows.input_ids, position_ids=rows.position_ids, attention_mask=rows.mask, use_cache=False
    )


def _sees_everything(base: Any) -> bool:
    """Whether tokens attend however far back; the probe is shorter than most windows and cannot tell."""
    config = base.config.get_text_config()
    return not (getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None))


def _body_of(base: Any) -> Callable[[PackedRows], Tensor]:
    return lambda rows: _call(base.base_model, rows).last_hidden_state.flatten(0, 1)


def _head_of(base: Any) -> Callable[[Tensor], Tensor]:
    config = base.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    factor = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)

    def head(hidden: Tensor) -> Tensor:
        logits = base.get_output_embeddings()(hidden).float()
        if factor != 1.0:
            logits = logits * factor
        return cap * torch.tanh(logits / cap) if cap else logits

    return head


def _probe_table(vocab_size: int) -> ResponseTable:
    ids = np.arange(1, 24) % vocab_size
    return ResponseTable(Ragged.of([ids[:3]]), Ragged.of([ids[3:12], ids[12:23]]), np.zeros(2, np.int64))


def _pack_probe(scorer: Scorer, table: ResponseTable, model: Any) -> PackedRows:
    device = next(model.parameters()).device
    return pack(
        table,
        np.array([[0, 1]]),
        pad_token_id=scorer.pad_token_id,
        share_prompts=scorer.share_prompts,
        device=device,
    )


def target_logps(scorer: Scorer, rows: PackedRows, hidden: Tensor, tokens: slice = slice(None)) -> Tensor:
    """[n] float32 log-probabilities of the targets in `tokens`."""
    logits = scorer.head(hidden[rows.source[tokens]])
    return logits.gather(-1, rows.target[tokens, None]).squeeze(-1) - logits.logsumexp(-1)


def token_logps(scorer: Scorer, rows: PackedRows, *, chunk_tokens: int = CHUNK_TOKENS) -> Tensor:
    """[N] float32, nats: log-probability of every response token. For use without gradients; training uses `core.step`."""
    hidden = scorer.hidden(rows)
    n = len(rows.target)
    return torch.cat(
        [target_logps(scorer, rows, hidden, slice(i, i + chunk_tokens)) for i in range(0, n, chunk_tokens)]
        or [hidden.new_zeros(0)]
    )


def batches_by_tokens(table: ResponseTable, responses: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Response indices in batches of about `batch_tokens` padded tokens, shortest first, every index once."""
    cost = table.prompts.lengths[table.prompt_of[responses]] + table.responses.lengths[responses]
    order = responses[np.argsort(cost, kind="stable")]
    cost = np.sort(cost, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * cost[stop] <= batch_tokens:
            stop += 1
        yield order[start:stop]
        start = stop


@torch.no_grad()
def response_logps(
    model: Any, table: ResponseTable, *, dtype: str = "float32", batch_tokens: int = 8192
) -> np.ndarray:
    """Log-probabilities of all response tokens of a table.

    Args:
        model: a causal model on its device; switched to evaluation mode for the pass.
        table: prompts and responses.
        dtype: "bfloat16" runs the forward pass under autocast, as training does.
        batch_tokens: padded tokens per forward pass.

    Returns:
        [total response tokens] float32, nats, aligned with `table.responses.flat`.
    """
    scorer = make_scorer(model)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    out = np.zeros(len(table.responses.flat), dtype=np.float32)
    for batch in batches_by_tokens(table, np.arange(len(table.responses)), batch_tokens):
        rows = pack(
            table, batch[:, None], pad_token_id=scorer.pad_token_id, share_prompts=False, device=device
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            logps = token_logps(scorer, rows).float().cpu().numpy()
        where = np.repeat(table.responses.offsets[batch], table.responses.lengths[batch])
        lengths = table.responses.lengths[batch]
        within = np.arange(len(logps)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        out[where + within] = logps
    model.train(was_training)
    return out


def sums(table: ResponseTable, token_values: np.ndarray) -> np.ndarray:
    """[n_responses] float64: token values added up over each response."""
    totals = np.concatenate([[0.0], np.cumsum(token_values, dtype=np.float64)])
    return totals[table.responses.offsets[1:]] - totals[table.responses.offsets[:-1]]
