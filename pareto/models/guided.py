"""Guided decoding: several candidates for every next step, the best of them kept with its cache, and so on to the end."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.config import Config
from pareto.data.texts import Text
from pareto.errors import ShapeError, UsageError
from pareto.models.decoder import Decoder
from pareto.models.generate import Sampling, choose, end_ids, generate_to, room_for
from pareto.models.prefix_cache import PrefixCache
from pareto.models.reward_models.steps import AfterText, AnySteps
from pareto.models.reward_models.vector import ReplyRewards, Rule, scalarised
from pareto.models.text_policy import DecodablePolicy


class Guidance(Config):
    """How candidates are drawn and judged.

    Args:
        candidates: N, steps drawn for each step that is kept.
        steps: where a step ends.
        rule: how scores become one number.
        max_steps: most steps of a reply.

    Source: Li et al. (2025), arXiv 2510.01167, and its code: 5 candidates, at most 100 steps.
    """

    candidates: int = Field(default=5, ge=1)
    steps: AnySteps = AfterText()
    rule: Rule = "sum"
    max_steps: int = Field(default=100, ge=1)


@dataclass(frozen=True)
class JudgedReply:
    """A reply that was chosen among others.

    Args:
        text: without special tokens.
        ids: [n] int32 token ids, the end token included where there is one.
        ended: whether it ended by an end token.
        scores: [m] of the whole reply.
        generated_tokens: tokens drawn for it, those of candidates that were not kept included.
    """

    text: str
    ids: np.ndarray
    ended: bool
    scores: np.ndarray
    generated_tokens: int


@dataclass
class _Prompt:
    """One prompt on its way: what is kept of its reply, and what was drawn for it."""

    text: Text
    weights: np.ndarray
    name: tuple[Any, ...]
    room: int
    ids: list[int] = field(default_factory=list)
    drawn: int = 0
    ended: bool = False
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))


@torch.no_grad()
def guided_replies(
    policy: DecodablePolicy,
    prompts: Sequence[Text],
    rewards: ReplyRewards,
    weights: np.ndarray,
    guidance: Guidance,
    sampling: Sampling,
    *,
    seed: int = 0,
    cache: PrefixCache | None = None,
) -> list[JudgedReply]:
    """One reply per prompt, step by step the best of several candidates.

    The candidates of a step go through the model together, on one copy of what was read so far; the cache of the kept one is
    gone on with, so that nothing is read twice. A reply does not depend on other prompts in the batch.

    Args:
        policy: what candidates are drawn from.
        prompts: strings or chats.
        rewards: scores of replies so far.
        weights: [m] or [B, m], in the order of the rewards' objectives.
        guidance: how candidates are drawn and judged.
        sampling: how tokens are drawn; `batch_size` prompts at a time.
        seed: of all draws.
        cache: of prompts that were read before.

    Raises:
        UsageError: a model whose cache cannot be cut by rows, or that is not told positions.
        ShapeError: neither one weight vector nor one for each prompt.
    """
    encoded = policy.encode(prompts)
    each = rows_of(weights, len(prompts), len(rewards.objectives))
    ends = end_ids(policy.model, policy.tokenizer)
    seen: Counter[tuple[Any, ...]] = Counter()
    states = []
    for text, ids, w in zip(prompts, encoded.ids, each):
        named = (hashlib.sha256(np.asarray(ids, dtype=np.int64).tobytes()).hexdigest(),)
        room = room_for(policy.model, ids, sampling.max_new_tokens)
        states.append(_Prompt(text, w, (*named, seen[named]), room))
        seen[named] += 1
    was_training = policy.model.training
    policy.model.eval()
    try:
        for start in range(0, len(states), sampling.batch_size):
            part = slice(start, start + sampling.batch_size)
            some = encoded.coefficients
            rows = None if some is None else torch.from_numpy(some[part])
            pad = policy.tokenizer.pad_token_id or 0
            decoder = Decoder(policy.model, encoded.ids[part], pad, rows, cache)
            _decode(decoder, policy.tokenizer, states[part], rewards, guidance, sampling, ends, seed)
    finally:
        policy.model.train(was_training)
    texts = policy.tokenizer.batch_decode([s.ids for s in states], skip_special_tokens=True)
    return [
        JudgedReply(text, np.array(s.ids, dtype=np.int32), s.ended, s.scores, s.drawn)
        for text, s in zip(texts, states)
    ]


def best_of_n(
    policy: DecodablePolicy,
    prompts: Sequence[Text],
    rewards: ReplyRewards,
    weights: np.ndarray,
    n: int,
    sampling: Sampling,
    *,
    rule: Rule = "sum",
    seed: int = 0,
) -> list[JudgedReply]:
    """One reply per prompt, the best of n whole ones: what guided decoding is measured against.

    Args:
        policy: what replies are drawn from.
        prompts: strings or chats.
        rewards: scores of replies.
        weights: [m] or [B, m], in the order of the rewards' objectives.
        n: replies drawn for each prompt.
        sampling: how they are drawn.
        rule: how scores become one number.
        seed: of all draws.
    """
    encoded = policy.encode(prompts)
    each = rows_of(weights, len(prompts), len(rewards.objectives))
    owner = np.repeat(np.arange(len(prompts)), n)
    rows = None if encoded.coefficients is None else encoded.coefficients[owner]
    drawn = generate_to(
        policy.model,
        policy.tokenizer,
        [encoded.ids[i] for i in owner.tolist()],
        sampling,
        seed=seed,
        coefficients=rows,
    )
    scores = rewards.of_replies([prompts[i] for i in owner.tolist()], [r.text for r in drawn])
    value = scalarised(scores, each[owner], rule).reshape(-1, n)
    out = []
    for i, k in enumerate(value.argmax(1).tolist()):
        own = i * n + k
        tokens = sum(len(r.ids) for r in drawn[i * n : (i + 1) * n])
        out.append(JudgedReply(drawn[own].text, drawn[own].ids, drawn[own].ended, scores[own], tokens))
    return out


def rows_of(weights: np.ndarray, n: int, m: int) -> np.ndarray:
    """[n, m] weights of each prompt.

    Raises:
        ShapeError: neither [m] nor [n, m].
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.shape not in ((m,), (n, m)):
        raise ShapeError(f"weights must be [{m}] or [{n}, {m}]; got {list(w.shape)}")
    return np.broadcast_to(w, (n, m))


def _decode(
    decoder: Decoder,
    tokenizer: Any,
    states: Sequence[_Prompt],
    rewards: ReplyRewards,
    guidance: Guidance,
    sampling: Sampling,
    ends: frozenset[int],
    seed: int,
) -> None:
    """Write the replies of one batch into its states."""
    n = guidance.candidates
    logits = decoder.logits()
    going = list(states)
    for step in range(guidance.max_steps):
        _select(decoder, [i for i in range(len(going)) for _ in range(n)])
        owners = [s for s in going for _ in range(n)]
        streams = [rng.generator("guided", seed, *s.name, step, k) for s in going for k in range(n)]
        drawn, logits = _candidates(
            decoder, tokenizer, owners, streams, logits.repeat_interleave(n, dim=0), guidance, sampling, ends
        )
        whole = [s.ids + step_ids for s, step_ids in zip(owners, drawn)]
        texts = tokenizer.batch_decode(whole, skip_special_tokens=True)
        scores = rewards.of_replies([s.text for s in owners], texts)
        value = scalarised(scores, np.stack([s.weights for s in owners]), guidance.rule)
        best = (value.reshape(-1, n).argmax(1) + n * np.arange(len(going))).tolist()
        left = []
        for i, s in zip(best, going):
            s.drawn += sum(map(len, drawn[i // n * n : i // n * n + n]))
            s.ids, s.scores = whole[i], scores[i]
            s.ended = s.ids[-1] in ends
            if not s.ended and len(s.ids) < s.room:
                left.append(i)
        going = [owners[i] for i in left]
        if not going:
            return
        _select(decoder, left)
        logits = logits[left]


def _candidates(
    decoder: Decoder,
    tokenizer: Any,
    owners: Sequence[_Prompt],
    streams: Sequence[np.random.Generator],
    logits: Tensor,
    guidance: Guidance,
    sampling: Sampling,
    ends: frozenset[int],
) -> tuple[list[list[int]], Tensor]:
    """The tokens of one step of every row, and [B, V] logits of what follows each step."""
    steps: list[list[int]] = [[] for _ in owners]
    logits = logits.clone()
    alive = np.ones(len(owners), dtype=bool)
    while alive.any():
        u = np.array([stream.random() if on else 0.0 for stream, on in zip(streams, alive)])
        tokens = choose(logits, torch.from_numpy(u).to(decoder.device), sampling)
        on = torch.from_numpy(alive.copy()).to(decoder.device)  # `alive` changes below
        for i in np.flatnonzero(alive).tolist():
            token, s = int(tokens[i]), owners[i]
            steps[i].append(token)
            full = len(s.ids) + len(steps[i]) >= s.room
            if token in ends or full or guidance.steps.ended(tokenizer, steps[i]):
                alive[i] = False
        decoder.append(tokens, on)
        following = decoder.logits()
        logits = torch.where(on[:, None], following, logits)
    return steps, logits


def _select(decoder: Decoder, rows: list[int]) -> None:
    if not decoder.positions or not decoder.keep(rows):
        raise UsageError(
            "guided decoding needs a model that is told positions and whose cache can be cut by rows; this one is not: draw "
            "whole replies (best_of_n)"
        )
