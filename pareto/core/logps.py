"""Token log-probabilities of responses: the interface everything above is built on.

Hidden states are computed for whole rows, the language-model head only where a response token is predicted, and the
softmax in chunks, so that logits of shape [B, T, V] never exist. Sums are float32 whatever the model's dtype.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto.core.head import LinearHead
from pareto.core.packing import PackedRows, pack
from pareto.data.pairs import Ragged, ResponseTable

CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**25}
"""Logits that are alive at once: enough for full speed of the products, little beside what the body keeps."""

MOST_RESPONSES = 8
"""Responses of a prompt that share a row when a whole table is scored; a row's attention costs its width squared."""


class SeparateRowsWarning(UserWarning):
    """A model cannot share prompts between responses; training gives the same numbers and costs more."""


@dataclass(frozen=True)
class Scorer:
    """How to get log-probabilities out of one model.

    Args:
        hidden: PackedRows -> [R * T, d] hidden states before the head.
        head: [N, d] -> [N, V] float logits.
        share_prompts: whether block-masked rows give what separate rows give.
        pad_token_id: a valid token id for padding.
        linear: the same head in closed form where it has one at present, else None.
        chunk_tokens: response tokens whose logits are alive at once.
    """

    hidden: Callable[[PackedRows], Tensor]
    head: Callable[[Tensor], Tensor]
    share_prompts: bool
    pad_token_id: int
    linear: Callable[[], LinearHead | None] = lambda: None
    chunk_tokens: int = 4096


def make_scorer(model: Any) -> Scorer:
    """Look at a Hugging Face causal model (or a PEFT model around one) and say how to score with it.

    The split into body and head, and prompt sharing, are tried on a few tokens against the model's own forward pass;
    what does not reproduce it (to 1e-3 in log-probability, or a twentieth of their spread in half precision) is not
    used. So recurrent and sliding-window models fall back to separate rows, and heads with scaling or soft-capping that
    we do not know fall back to the model's full logits. Falling back to separate rows is said (`SeparateRowsWarning`).
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    pad = base.config.pad_token_id if base.config.pad_token_id is not None else 0
    vocab_size = base.config.get_text_config().vocab_size
    device = next(model.parameters()).device
    chunk = max(64, CHUNK_LOGITS.get(device.type, CHUNK_LOGITS["cpu"]) // vocab_size)
    sharing = (True, False) if _sees_everything(base) else (False,)
    candidates = [
        Scorer(_body_of(base), _head_of(base), share, pad, _closed_form_of(base), chunk) for share in sharing
    ]
    candidates.append(
        Scorer(
            lambda rows: run_model(base, rows).logits.flatten(0, 1),
            lambda logits: logits.float(),
            False,
            pad,
            chunk_tokens=chunk,
        )
    )
    table = _probe_table(vocab_size)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        rows = _pack_probe(candidates[-1], table, model)
        want = token_logps(candidates[-1], rows)
        exact = next(model.parameters()).dtype in (torch.float32, torch.float64)
        tolerance = 1e-3 if exact else 0.05 * float(want.std())
        for scorer in candidates[:-1]:
            try:
                rows = _pack_probe(scorer, table, model)
                got = token_logps(scorer, rows)
            except (TypeError, ValueError, RuntimeError, AttributeError):
                continue  # this architecture does not take the call; the next, plainer candidate will
            if torch.allclose(got.float(), want.float(), atol=tolerance):
                break
        else:
            scorer = candidates[-1]
    model.train(was_training)
    if not scorer.share_prompts:
        why = (
            "a response and its prompt scored in shared rows come out otherwise than alone"
            if _sees_everything(base)
            else "its layers attend within a window"
        )
        warnings.warn(
            f"{type(base).__name__} gets a row of its own for every response, so prompts are computed once per response: {why}",
            SeparateRowsWarning,
            stacklevel=2,
        )
    return scorer


def run_model(module: Any, rows: PackedRows, **settings: Any) -> Any:
    """Call a Hugging Face model, or the body of one, on packed rows."""
    mask = rows.mask
    if mask is not None:
        # Added to the scores, as every attention understands it; a bool mask would be turned into this in every layer.
        kind = mask.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else module.dtype
        mask = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
    return module(
        input_ids=rows.input_ids,
        position_ids=rows.position_ids,
        attention_mask=mask,
        use_cache=False,
        **settings,
    )


def _sees_everything(base: Any) -> bool:
    """Whether tokens attend however far back; the probe is shorter than most windows and cannot tell."""
    config = base.config.get_text_config()
    return not (getattr(config, "sliding_window", None) or getattr(config, "attention_chunk_size", None))


def _body_of(base: Any) -> Callable[[PackedRows], Tensor]:
    return lambda rows: run_model(base.base_model, rows).last_hidden_state.flatten(0, 1)


def _factor(config: Any) -> float:
    return (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)


def _head_of(base: Any) -> Callable[[Tensor], Tensor]:
    config = base.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    factor = _factor(config)

    def head(hidden: Tensor) -> Tensor:
        logits = base.get_output_embeddings()(hidden).float()
        if factor != 1.0:
            logits = logits * factor
        return cap * torch.tanh(logits / cap) if cap else logits

    return head


def _closed_form_of(base: Any) -> Callable[[], LinearHead | None]:
    config = base.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        return lambda: None
    return lambda: LinearHead.of(base.get_output_embeddings(), _factor(config))


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


def target_logps(scorer: Scorer, states: Tensor, target: Tensor) -> Tensor:
    """[n] float32 log-probabilities of [n] targets, given the [n, d] hidden states that predict them."""
    return target_scorer(scorer, scorer.linear())(states, target)


def target_scorer(scorer: Scorer, linear: LinearHead | None) -> Callable[[Tensor, Tensor], Tensor]:
    """`target_logps` for the chunks of one batch, given what `scorer.linear()` says during it."""
    return (
        linear.logps if linear is not None else lambda states, target: logps_of(scorer.head(states), target)
    )


def logps_of(logits: Tensor, target: Tensor) -> Tensor:
    """[n] log-probabilities of [n] targets under [n, V] logits."""
    return logits.gather(-1, target[:, None]).squeeze(-1) - logits.logsumexp(-1)


def token_logps(scorer: Scorer, rows: PackedRows, *, chunk_tokens: int | None = None) -> Tensor:
    """[N] float32, nats: log-probability of every response token. For use without gradients; training uses `core.step`."""
    hidden = scorer.hidden(rows)
    chunk = chunk_tokens or scorer.chunk_tokens
    parts = zip(rows.source.split(chunk), rows.target.split(chunk))
    score = target_scorer(scorer, scorer.linear())
    return torch.cat([score(hidden[source], target) for source, target in parts])


def together(table: ResponseTable) -> list[np.ndarray]:
    """All responses of a table as examples that can share their prompt, at most `MOST_RESPONSES` in one.

    Returns:
        list of [n, K] int64 response indices, one array for each K that occurs.
    """
    order = np.argsort(table.prompt_of, kind="stable")
    _, first, count = np.unique(table.prompt_of[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, count)
    starts = np.flatnonzero(rank % MOST_RESPONSES == 0)
    sizes = np.diff(np.append(starts, len(order)))
    return [order[starts[sizes == k][:, None] + np.arange(k)] for k in np.unique(sizes).tolist()]


def batches_by_tokens(table: ResponseTable, examples: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Examples in batches of about `batch_tokens` padded tokens, shortest first, every one once.

    Args:
        table: prompts and responses.
        examples: [n] or [n, K] int64, response indices; the K responses of an example answer one prompt.
        batch_tokens: most tokens of a batch that holds more than one example.
    """
    columns = examples.reshape(len(examples), -1)
    cost = table.prompts.lengths[table.prompt_of[columns[:, 0]]] + table.responses.lengths[columns].sum(1)
    order = examples[np.argsort(cost, kind="stable")]
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
    groups = together(table) if scorer.share_prompts else [np.arange(len(table.responses))[:, None]]
    for batch in chain.from_iterable(batches_by_tokens(table, group, batch_tokens) for group in groups):
        rows = pack(
            table,
            batch,
            pad_token_id=scorer.pad_token_id,
            share_prompts=scorer.share_prompts,
            device=device,
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            logps = token_logps(scorer, rows).float().cpu().numpy()
        responses = batch.ravel()
        lengths = table.responses.lengths[responses]
        within = np.arange(len(logps)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        out[np.repeat(table.responses.offsets[responses], lengths) + within] = logps
    model.train(was_training)
    return out


def sums(table: ResponseTable, token_values: np.ndarray) -> np.ndarray:
    """[n_responses] float64: token values added up over each response."""
    totals = np.concatenate([[0.0], np.cumsum(token_values, dtype=np.float64)])
    return totals[table.responses.offsets[1:]] - totals[table.responses.offsets[:-1]]
