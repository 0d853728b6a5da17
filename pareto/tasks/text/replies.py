"""Generated replies of a policy, and what they are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.core.logps import sums
from pareto.data.pairs import Ragged, ResponseTable
from pareto.models.generate import Sampling, end_ids, generate_ids
from pareto.models.reply_facts import distinct_2, entropies_and_divergences


@dataclass(frozen=True)
class Replies:
    """One reply to each of some prompts.

    Args:
        prompts: [n] as people read them.
        texts: [n] replies without special tokens.
        prompt_ids: [n] what the policy was given.
        ids: [n] what it wrote, with the end token where it ended.
        ended: [n] bool, whether the reply ended before its longest length.
    """

    prompts: Sequence[str]
    texts: Sequence[str]
    prompt_ids: Sequence[Sequence[int]]
    ids: Sequence[Sequence[int]]
    ended: np.ndarray


def write_replies(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    prompt_ids: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int,
) -> Replies:
    """Draw one reply per prompt, from the very tokens that training would use."""
    ends = end_ids(model, tokenizer)
    ids = generate_ids(model, prompt_ids, sampling, ends=ends, pad=tokenizer.pad_token_id or 0, seed=seed)
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    ended = np.array([bool(row) and row[-1] in ends for row in ids], dtype=bool)
    return Replies(prompts, texts, prompt_ids, ids, ended)


def reply_facts(model: Any, replies: Replies, reference: Any, *, plain_draws: bool) -> dict[str, Any]:
    """Facts for a policy's record.

    Args:
        model: the policy.
        replies: drawn from it.
        reference: the reference model, or None for a policy with adapters.
        plain_draws: whether the replies were drawn from the policy itself; otherwise the divergence along them says
            nothing about the policy's own replies and is left out.

    Returns:
        text: length_tokens (with end tokens), entropy_nats per reply, entropy_per_token_nats, distinct_2, ended (share of
        replies that came to an end); kl_nats per reply of at most the longest length, with its standard error.
    """
    table = ResponseTable(Ragged.of(replies.prompt_ids), Ragged.of(replies.ids), np.arange(len(replies.ids)))
    entropy, divergence = entropies_and_divergences(model, table, reference)
    per_reply, n = sums(table, divergence), len(replies.ids)
    text = {
        "length_tokens": float(table.responses.lengths.mean()),
        "entropy_nats": float(sums(table, entropy).mean()),
        "entropy_per_token_nats": float(entropy.mean()),
        "distinct_2": distinct_2(replies.texts),
        "ended": float(replies.ended.mean()),
    }
    if not plain_draws:
        return {"text": text}
    error = float(per_reply.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return {"text": text, "kl_nats": float(per_reply.mean()), "kl_se_nats": error}
