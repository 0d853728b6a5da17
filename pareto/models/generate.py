"""Sampling replies: batched, cached, and the same whoever else is in the batch.

Every row draws from a generator of its own, named by its seed, the prompt's tokens and how often that prompt came before
with that seed and those coefficients; a batch is only a way to compute. (Between batch shapes the logits differ in their
last bits; a draw that falls within those bits of a boundary may differ, and so may a greedy choice between equals.)
The same prompt and seed under other coefficients draws the same numbers, so that replies differ by the policy alone.

A model may be a mixture of policies (`pareto.models.mixing`): then each row has its coefficients.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.config import Config
from pareto.data.encode import encode_prompts
from pareto.data.texts import Text
from pareto.errors import DataError, NumericsError, ShapeError
from pareto.models.decoder import Decoder
from pareto.models.prefix_cache import PrefixCache, takes


class Sampling(Config):
    """How replies are drawn.

    Args:
        max_new_tokens: longest reply, end token included.
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: draw from the likeliest tokens whose probabilities reach this sum.
        batch_size: prompts at a time; does not change the replies.
    """

    max_new_tokens: int = Field(default=64, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    batch_size: int = Field(default=32, ge=1)


@dataclass(frozen=True)
class Reply:
    """One generated reply.

    Args:
        text: without special tokens.
        ids: [n] int32 token ids, the end token included where there is one.
        ended: whether it ended by an end token, and not by running out of tokens.
        logps: [n] float32, nats: log-probability of each token under the policy, before temperature and filters.
    """

    text: str
    ids: np.ndarray
    ended: bool
    logps: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


class Drawn(NamedTuple):
    """One token of one row, as it is drawn.

    Args:
        row: which prompt it belongs to.
        id: the token.
        logp: its log-probability under the policy, before temperature and filters, nats.
    """

    row: int
    id: int
    logp: float


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    sampling: Sampling,
    *,
    seed: int | Sequence[int] = 0,
    coefficients: np.ndarray | None = None,
    cache: PrefixCache | None = None,
) -> list[Reply]:
    """One reply per prompt.

    Args:
        model: a causal model on its device, or a mixture.
        tokenizer: its tokenizer.
        prompts: strings or chats.
        sampling: how to draw.
        seed: of all draws, or one for each prompt.
        coefficients: [B, K] of a mixture, one row a prompt.
        cache: of prompts that were read before.

    Raises:
        DataError: a prompt leaves no room for a reply within the model's positions.
        NumericsError: logits that are not finite.
        ShapeError: not one seed, or not one row of coefficients, for each prompt.
    """
    ids = encode_prompts(tokenizer, prompts)
    return generate_to(model, tokenizer, ids, sampling, seed=seed, coefficients=coefficients, cache=cache)


def generate_to(
    model: Any,
    tokenizer: Any,
    ids: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int | Sequence[int] = 0,
    coefficients: np.ndarray | None = None,
    cache: PrefixCache | None = None,
) -> list[Reply]:
    """One reply per prompt of which the token ids are known; see `generate`."""
    ends = end_ids(model, tokenizer)
    rows: list[list[int]] = [[] for _ in ids]
    logps: list[list[float]] = [[] for _ in ids]
    for drawn in draw_tokens(
        model,
        ids,
        sampling,
        ends=ends,
        pad=tokenizer.pad_token_id or 0,
        seed=seed,
        coefficients=coefficients,
        cache=cache,
    ):
        rows[drawn.row].append(drawn.id)
        logps[drawn.row].append(drawn.logp)
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [
        Reply(
            text, np.array(row, dtype=np.int32), bool(row) and row[-1] in ends, np.array(values, np.float32)
        )
        for text, row, values in zip(texts, rows, logps)
    ]


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a reply: the tokenizer's, and those in the model's generation settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, list) else [own]
    return frozenset(int(i) for i in (*listed, tokenizer.eos_token_id) if i is not None)


def generate_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    ends: frozenset[int],
    pad: int,
    seed: int | Sequence[int],
) -> list[list[int]]:
    """Token ids of one reply per prompt; see `draw_tokens`."""
    out: list[list[int]] = [[] for _ in prompts]
    for drawn in draw_tokens(model, prompts, sampling, ends=ends, pad=pad, seed=seed):
        out[drawn.row].append(drawn.id)
    return out


@torch.no_grad()
def draw_tokens(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    ends: frozenset[int],
    pad: int,
    seed: int | Sequence[int],
    coefficients: np.ndarray | None = None,
    cache: PrefixCache | None = None,
) -> Iterator[Drawn]:
    """Draw replies token by token, batch after batch; within a batch all rows take a step before any takes the next.

    Args:
        model: a causal model on its device, or a mixture; switched to evaluation mode while it runs.
        prompts: token ids, at least one each.
        sampling: how to draw.
        ends: tokens that end a reply.
        pad: any valid token id.
        seed: of all draws, or one for each prompt.
        coefficients: [B, K] of a mixture, one row a prompt.
        cache: of prompts that were read before.

    Raises:
        DataError: a prompt leaves no room for a reply within the model's positions.
        NumericsError: logits that are not finite.
        ShapeError: not one seed, or not one row of coefficients, for each prompt.
    """
    seeds = [seed] * len(prompts) if isinstance(seed, int | np.integer) else list(seed)
    rows = None if coefficients is None else np.asarray(coefficients, dtype=np.float64) + 0.0  # no -0.0
    for what, given in (("seed", seeds), ("row of coefficients", rows)):
        if given is not None and len(given) != len(prompts):
            raise ShapeError(f"expected one {what} for each of {len(prompts)} prompts; got {len(given)}")
    room = [room_for(model, prompt, sampling.max_new_tokens) for prompt in prompts]
    draws = _draws(prompts, sampling.max_new_tokens, seeds, rows)
    lengths = takes(model, "position_ids")
    groups = None if rows is None or getattr(model, "per_row", True) else [row.tobytes() for row in rows]
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(prompts, sampling.batch_size, mixed_lengths=lengths, groups=groups):
            some = None if rows is None else torch.from_numpy(rows[batch])
            decoder = Decoder(model, [prompts[i] for i in batch], pad, some, cache)
            yield from _decode(decoder, batch, draws, room, sampling, ends)
    finally:
        model.train(was_training)


def choose(logits: Tensor, draws: Tensor, sampling: Sampling) -> Tensor:
    """Pick one token per row by inverting its distribution function.

    Args:
        logits: [B, V].
        draws: [B] float64 in [0, 1).
        sampling: temperature and top_p.

    Returns:
        [B] int64.

    Raises:
        NumericsError: a logit is NaN or infinite upwards.
    """
    if not torch.isfinite(logits.max(-1).values).all():
        raise NumericsError("the model's logits are not finite; the policy is broken or the dtype too narrow")
    if sampling.temperature == 0:
        return logits.argmax(-1)
    wide = logits.float() if logits.device.type == "mps" else logits.double()  # mps has no float64
    p = (wide / sampling.temperature).softmax(-1)
    order = None
    if sampling.top_p < 1:
        p, order = torch.sort(p, dim=-1, descending=True, stable=True)
        p = p * (p.cumsum(-1) - p < sampling.top_p)
    cumulative = p.cumsum(-1)
    target = draws.to(p)[:, None] * cumulative[:, -1:]
    index = torch.searchsorted(cumulative, target, right=True).clamp(max=p.shape[-1] - 1)
    return (index if order is None else order.gather(-1, index)).squeeze(-1)


def _decode(
    decoder: Decoder,
    batch: Sequence[int],
    draws: np.ndarray,
    room: Sequence[int],
    sampling: Sampling,
    ends: frozenset[int],
) -> Iterator[Drawn]:
    """Draw the replies of one batch; rows that are done leave when half of the rows are."""
    rows = list(batch)
    done = [False] * len(rows)
    for step in range(sampling.max_new_tokens):
        u = torch.from_numpy(draws[rows, step]).to(decoder.device)
        logits = decoder.logits()
        tokens = choose(logits, u, sampling)
        logps = logits.gather(-1, tokens[:, None])[:, 0].float() - logits.float().logsumexp(-1)
        for at, (i, token, logp) in enumerate(zip(rows, tokens.tolist(), logps.tolist())):
            if not done[at]:
                yield Drawn(i, token, logp)
                done[at] = token in ends or step + 1 >= room[i]
        if all(done):
            return
        decoder.append(tokens)
        if 2 * sum(done) >= len(done):
            left = [at for at, finished in enumerate(done) if not finished]
            if decoder.keep(left):
                rows, done = [rows[at] for at in left], [False] * len(left)


def _draws(
    prompts: Sequence[Sequence[int]], n: int, seeds: Sequence[int], coefficients: np.ndarray | None
) -> np.ndarray:
    """[B, n] float64: a row's numbers depend on its seed, its prompt, and how often that pair came before.

    Rows with other coefficients are other requests: they do not count, so that neither changes the other's numbers.
    """
    seen: Counter[tuple[int, bytes, bytes]] = Counter()
    rows = []
    for i, (prompt, seed) in enumerate(zip(prompts, seeds)):
        tokens = np.asarray(prompt, dtype=np.int64).tobytes()
        row = (seed, tokens, b"" if coefficients is None else coefficients[i].tobytes())
        rows.append(row_draws(prompt, n, seed, seen[row]))
        seen[row] += 1
    return np.array(rows).reshape(len(prompts), n)


def row_draws(prompt: Sequence[int], n: int, seed: int, before: int = 0) -> np.ndarray:
    """[n] float64 in [0, 1): the numbers that decide one reply.

    Args:
        prompt: its token ids.
        n: most tokens of the reply.
        seed: of the request.
        before: how often the same request came before; each time it gets numbers of its own.
    """
    name = hashlib.sha256(np.asarray(prompt, dtype=np.int64).tobytes()).hexdigest()
    return rng.generator("generate", seed, name, before).random(n)


def room_for(model: Any, prompt: Sequence[int], wanted: int) -> int:
    """Longest reply to a prompt, within the model's positions.

    Raises:
        DataError: there is no room at all.
    """
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 10**9
    if len(prompt) >= limit:
        raise DataError(
            f"a prompt of {len(prompt)} tokens leaves no room for a reply; the model has {limit} positions"
        )
    return min(wanted, limit - len(prompt))


def _batches(
    prompts: Sequence[Sequence[int]],
    size: int,
    *,
    mixed_lengths: bool,
    groups: Sequence[bytes] | None = None,
) -> list[list[int]]:
    """Prompt indices in batches of similar lengths.

    Lengths are equal for models that cannot tell where a row starts, and so are groups where they are given.
    """

    def kind(i: int) -> tuple[bytes, int]:
        return (groups[i] if groups else b"", 0 if mixed_lengths else len(prompts[i]))

    order = sorted(range(len(prompts)), key=lambda i: (groups[i] if groups else b"", len(prompts[i])))
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else None
        if last is not None and len(last) < size and kind(last[0]) == kind(i):
            last.append(i)
        else:
            batches.append([i])
    return batches
