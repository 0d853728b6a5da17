"""Sampling replies: batched, cached, and the same whoever else is in the batch.

Every row draws from a generator of its own, named by the seed, the prompt's tokens and how often that prompt came
before; a batch is only a way to compute. (Between batch shapes the logits differ in their last bits; a draw that falls
within those bits of a boundary may differ, and so may a greedy choice between equals.)
"""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.config import Config
from pareto.data.encode import encode_prompts
from pareto.data.texts import Text
from pareto.errors import DataError, NumericsError


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
    """

    text: str
    ids: np.ndarray
    ended: bool


def generate(
    model: Any, tokenizer: Any, prompts: Sequence[Text], sampling: Sampling, *, seed: int = 0
) -> list[Reply]:
    """One reply per prompt.

    Args:
        model: a causal model on its device.
        tokenizer: its tokenizer.
        prompts: strings or chats.
        sampling: how to draw.
        seed: of all draws.

    Raises:
        DataError: a prompt leaves no room for a reply within the model's positions.
        NumericsError: logits that are not finite.
    """
    ids = encode_prompts(tokenizer, prompts)
    ends = end_ids(model, tokenizer)
    rows = generate_ids(model, ids, sampling, ends=ends, pad=tokenizer.pad_token_id or 0, seed=seed)
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    return [
        Reply(text, np.array(row, dtype=np.int32), bool(row) and row[-1] in ends)
        for text, row in zip(texts, rows)
    ]


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end a reply: the tokenizer's, and those in the model's generation settings."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = own if isinstance(own, list) else [own]
    return frozenset(int(i) for i in (*listed, tokenizer.eos_token_id) if i is not None)


@torch.no_grad()
def generate_ids(
    model: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    ends: frozenset[int],
    pad: int,
    seed: int,
) -> list[list[int]]:
    """Token ids of one reply per prompt; see `generate`.

    Args:
        model: a causal model on its device; switched to evaluation mode while it runs.
        prompts: token ids, at least one each.
        sampling: how to draw.
        ends: tokens that end a reply.
        pad: any valid token id.
        seed: of all draws.
    """
    room = _room(model, prompts, sampling.max_new_tokens)
    draws = _draws(prompts, sampling.max_new_tokens, seed)
    out: list[list[int]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    for batch in _batches(prompts, sampling.batch_size, mixed_lengths=_takes(model, "position_ids")):
        _decode(model, batch, prompts, draws, room, sampling, ends, pad, out)
    model.train(was_training)
    return out


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


class _Decoder:
    """The next token's logits of a batch, with whatever cache the model keeps."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], pad: int) -> None:
        device = next(model.parameters()).device
        width = max(map(len, prompts))
        ids = np.full((len(prompts), width), pad, dtype=np.int64)
        mask = np.zeros((len(prompts), width), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = prompt
            mask[row, width - len(prompt) :] = 1
        self.model, self.device = model, device
        self.ids, self.mask = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        self.cache: Any = None
        self.positions = _takes(model, "position_ids")

    def logits(self) -> Tensor:
        """[B, V] of the next token."""
        inputs = {"input_ids": self.ids, "attention_mask": self.mask, "use_cache": True}
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        if self.cache is not None:
            inputs |= {"input_ids": self.ids[:, -1:], "past_key_values": self.cache}
            positions = positions[:, -1:]
        if self.positions:
            inputs["position_ids"] = positions
        out = self.model(**inputs)
        self.cache = getattr(out, "past_key_values", None)  # models without one read the whole row again
        return out.logits[:, -1]

    def append(self, tokens: Tensor) -> None:
        """Add a token to every row."""
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.mask = torch.cat([self.mask, torch.ones_like(tokens)[:, None]], dim=1)

    def keep(self, rows: Tensor) -> bool:
        """Go on with some rows only; False where the cache cannot be cut."""
        if self.cache is not None and not hasattr(self.cache, "batch_select_indices"):
            return False
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        return True


def _decode(
    model: Any,
    batch: Sequence[int],
    prompts: Sequence[Sequence[int]],
    draws: np.ndarray,
    room: Sequence[int],
    sampling: Sampling,
    ends: frozenset[int],
    pad: int,
    out: list[list[int]],
) -> None:
    """Write the replies of one batch into `out`; rows that are done leave when half of the rows are."""
    decoder = _Decoder(model, [prompts[i] for i in batch], pad)
    rows = list(batch)
    done = [False] * len(rows)
    for step in range(sampling.max_new_tokens):
        u = torch.from_numpy(draws[rows, step]).to(decoder.device)
        tokens = choose(decoder.logits(), u, sampling)
        for at, (i, token) in enumerate(zip(rows, tokens.tolist())):
            if not done[at]:
                out[i].append(token)
                done[at] = token in ends or len(out[i]) >= room[i]
        if all(done):
            return
        decoder.append(tokens)
        if 2 * sum(done) >= len(done):
            left = [at for at, finished in enumerate(done) if not finished]
            if decoder.keep(torch.tensor(left, device=decoder.device)):
                rows, done = [rows[at] for at in left], [False] * len(left)


def _draws(prompts: Sequence[Sequence[int]], n: int, seed: int) -> np.ndarray:
    """[B, n] float64: a row's numbers depend on the seed, its prompt, and how often that prompt came before."""
    seen: Counter[str] = Counter()
    rows = []
    for prompt in prompts:
        name = hashlib.sha256(np.asarray(prompt, dtype=np.int64).tobytes()).hexdigest()
        rows.append(rng.generator("generate", seed, name, seen[name]).random(n))
        seen[name] += 1
    return np.array(rows).reshape(len(prompts), n)


def _room(model: Any, prompts: Sequence[Sequence[int]], wanted: int) -> list[int]:
    """Longest reply of each prompt within the model's positions."""
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 10**9
    longest = max(map(len, prompts), default=0)
    if longest >= limit:
        raise DataError(
            f"a prompt of {longest} tokens leaves no room for a reply; the model has {limit} positions"
        )
    return [min(wanted, limit - len(p)) for p in prompts]


def _batches(prompts: Sequence[Sequence[int]], size: int, *, mixed_lengths: bool) -> list[list[int]]:
    """Prompt indices in batches of similar lengths, or of equal lengths for models that cannot tell where a row starts."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else None
        fits = last is not None and len(last) < size
        if last is not None and fits and (mixed_lengths or len(prompts[last[0]]) == len(prompts[i])):
            last.append(i)
        else:
            batches.append([i])
    return batches


def _takes(model: Any, argument: str) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(base.forward).parameters
