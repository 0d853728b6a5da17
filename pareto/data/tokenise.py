"""Preference texts to token ids under length limits: `tokenise`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.config import Config
from pareto.data.encode import Ids, as_conversation, encode_prompts, encode_responses
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.data.preferences import PAIR_COLUMNS, Preferences
from pareto.errors import DataError

Overlong = Literal["truncate", "drop"]


class Limits(Config):
    """What to do with long texts.

    Args:
        prompt_tokens: longest prompt, beginning-of-text token included.
        response_tokens: longest response, end token included.
        long_prompt: "truncate" keeps the end of the prompt (and its beginning-of-text token), "drop" leaves the prompt
            and its responses out.
        long_response: "truncate" keeps the start of the response, without an end token; "drop" leaves it out.
        max_mismatch: largest accepted share of chat responses whose prompt is not the start of the conversation.
    """

    prompt_tokens: int = Field(default=512, ge=1)
    response_tokens: int = Field(default=512, ge=1)
    long_prompt: Overlong = "truncate"
    long_response: Overlong = "truncate"
    max_mismatch: float = Field(default=0.01, ge=0, le=1)


@dataclass(frozen=True)
class TokeniseCounts:
    """What tokenising changed. `mismatches` and `inner_ends` (an end token inside the text) count responses."""

    prompts: int
    responses: int
    prompt_tokens: int
    response_tokens: int
    truncated_prompts: int
    dropped_prompts: int
    truncated_responses: int
    dropped_responses: int
    dropped_pairs: int
    mismatches: int
    inner_ends: int

    def to_json(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


@dataclass(frozen=True)
class Tokenised:
    """Tokenised preferences, and where they came from.

    Args:
        pairs: with all responses that were kept, also those in no pair.
        counts: what was changed.
        prompts: [n] int64, index in the data of each prompt that was kept.
        responses: [k] int64, index in the data of each response that was kept.
    """

    pairs: PreferencePairs
    counts: TokeniseCounts
    prompts: np.ndarray
    responses: np.ndarray


def tokenise(data: Preferences, tokenizer: Any, limits: Limits) -> Tokenised:
    """Tokenise a data set under length limits.

    Args:
        data: texts and labels.
        tokenizer: a Hugging Face tokenizer.
        limits: longest prompts and responses, and what to do with longer ones.

    Raises:
        DataError: nothing is left, or too many conversations do not start with their prompt.
    """
    prompts = encode_prompts(tokenizer, data.prompts)
    of = data.prompt_of.tolist()
    responses, mismatch = encode_responses(
        tokenizer, [data.prompts[i] for i in of], data.responses, [prompts[i] for i in of]
    )
    n_chat = sum(as_conversation(tokenizer, data.prompts[i]) is not None for i in of)
    if mismatch.sum() > limits.max_mismatch * max(n_chat, 1):
        raise DataError(
            f"in {mismatch.sum()} of {n_chat} chat responses the conversation does not start with its prompt as the chat "
            f"template renders it (at most {limits.max_mismatch:.1%} accepted); the template rewrites earlier turns or "
            "adds something before a reply; raise limits.max_mismatch to tokenise those replies apart"
        )
    eos = tokenizer.eos_token_id
    inner_ends = sum(eos in ids[:-1] for ids in responses)
    long_prompt = np.array([len(p) > limits.prompt_tokens for p in prompts], dtype=bool)
    long_response = np.array([len(r) > limits.response_tokens for r in responses], dtype=bool)
    keep_prompt = ~long_prompt if limits.long_prompt == "drop" else np.ones(len(prompts), dtype=bool)
    keep = keep_prompt[data.prompt_of]
    if limits.long_response == "drop":
        keep &= ~long_response
    pairs = keep[data.a] & keep[data.b]
    if not keep.any():
        raise DataError(f"no response is left within the limits ({limits})")
    new_prompt, new_response = np.cumsum(keep_prompt) - 1, np.cumsum(keep) - 1
    table = ResponseTable(
        Ragged.of(_cut_left(tokenizer, p, limits.prompt_tokens) for p, k in zip(prompts, keep_prompt) if k),
        Ragged.of(r[: limits.response_tokens] for r, k in zip(responses, keep) if k),
        new_prompt[data.prompt_of[keep]],
    )
    columns = {c: None if (v := getattr(data, c)) is None else v[pairs] for c in PAIR_COLUMNS}
    tokenised = PreferencePairs(
        data.objectives,
        table,
        new_response[data.a[pairs]],
        new_response[data.b[pairs]],
        data.labels[pairs],
        **columns,
    )
    counts = TokeniseCounts(
        prompts=len(table.prompts),
        responses=len(table.responses),
        prompt_tokens=len(table.prompts.flat),
        response_tokens=len(table.responses.flat),
        truncated_prompts=int((long_prompt & keep_prompt).sum()),
        dropped_prompts=int((~keep_prompt).sum()),
        truncated_responses=int((long_response & keep).sum()),
        dropped_responses=int((~keep).sum()),
        dropped_pairs=int((~pairs).sum()),
        mismatches=int(mismatch.sum()),
        inner_ends=int(inner_ends),
    )
    return Tokenised(tokenised, counts, np.flatnonzero(keep_prompt), np.flatnonzero(keep))


def _cut_left(tokenizer: Any, ids: Ids, most: int) -> Ids:
    if len(ids) <= most:
        return ids
    bos = tokenizer.bos_token_id
    return [bos, *ids[len(ids) - most + 1 :]] if bos is not None and ids[0] == bos else ids[len(ids) - most :]
