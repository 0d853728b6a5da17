"""Preference texts to token ids under length limits: `tokenise`."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from pareto.config import Config
from pareto.data.encode import Ids, as_conversation, encode_prompts, encode_responses
from pareto.data.interned import take
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.data.preferences import PAIR_COLUMNS, Preferences
from pareto.data.token_store import RowsInMemory, RowsOnDisk
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


CHUNK = 8192
"""Texts that are tokenised before their ids are put away."""


def tokenise(data: Preferences, tokenizer: Any, limits: Limits, folder: Path | None = None) -> Tokenised:
    """Tokenise a data set under length limits, every prompt and every response once.

    Args:
        data: texts and labels.
        tokenizer: a Hugging Face tokenizer.
        limits: longest prompts and responses, and what to do with longer ones.
        folder: where the ids are written and mapped from, so that they need not fit in memory (what is in it is
            replaced); None keeps them in memory. The result is the same.

    Raises:
        DataError: nothing is left, or too many conversations do not start with their prompt.
    """
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    whole, cut, replies = (
        RowsInMemory() if folder is None else RowsOnDisk(folder / f"{name}.i32")
        for name in ("whole_prompts", "prompts", "responses")
    )
    for start in range(0, len(data.prompts), CHUNK):
        whole.extend(encode_prompts(tokenizer, data.prompts[start : start + CHUNK]))
    prompts = whole.finish()
    long_prompt = prompts.lengths > limits.prompt_tokens
    keep_prompt = ~long_prompt if limits.long_prompt == "drop" else np.ones(len(prompts), dtype=bool)
    for start in range(0, len(prompts), CHUNK):
        kept = (np.flatnonzero(keep_prompt[start : start + CHUNK]) + start).tolist()
        cut.extend([_cut_left(tokenizer, prompts[i].tolist(), limits.prompt_tokens) for i in kept])
    seen = _Responses(data, tokenizer, limits, prompts)
    for start in range(0, len(data.responses), CHUNK):
        replies.extend(seen.encode(slice(start, start + CHUNK), keep_prompt))
    seen.check_mismatch()
    keep, long_response = seen.keep, seen.long
    pairs = keep[data.a] & keep[data.b]
    if not keep.any():
        raise DataError(f"no response is left within the limits ({limits})")
    new_prompt, new_response = np.cumsum(keep_prompt) - 1, np.cumsum(keep) - 1
    table = ResponseTable(cut.finish(), replies.finish(), new_prompt[data.prompt_of[keep]])
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
        mismatches=seen.mismatches,
        inner_ends=seen.inner_ends,
    )
    return Tokenised(tokenised, counts, np.flatnonzero(keep_prompt), np.flatnonzero(keep))


class _Responses:
    """Responses on their way to ids, chunk by chunk, and what was counted on the way."""

    def __init__(self, data: Preferences, tokenizer: Any, limits: Limits, prompts: Ragged) -> None:
        self._data, self._tokenizer, self._limits, self._prompts = data, tokenizer, limits, prompts
        self.keep = np.zeros(len(data.responses), dtype=bool)
        self.long = np.zeros(len(data.responses), dtype=bool)
        self.mismatches = self.inner_ends = self._n_chat = 0

    def encode(self, chunk: slice, keep_prompt: np.ndarray) -> list[Ids]:
        """The ids of those responses of a chunk that are kept, within their limit."""
        data, limits = self._data, self._limits
        of = data.prompt_of[chunk]
        owners, where = np.unique(of, return_inverse=True)
        own = take(data.prompts, owners)
        starts = [self._prompts[i].tolist() for i in owners]
        ids, mismatch = encode_responses(
            self._tokenizer, [own[i] for i in where], data.responses[chunk], [starts[i] for i in where]
        )
        chat = np.array([as_conversation(self._tokenizer, p) is not None for p in own], dtype=bool)
        self._n_chat += int(chat[where].sum())
        self.mismatches += int(mismatch.sum())
        eos = self._tokenizer.eos_token_id
        self.inner_ends += sum(eos in row[:-1] for row in ids)
        self.long[chunk] = [len(row) > limits.response_tokens for row in ids]
        self.keep[chunk] = keep_prompt[of]
        if limits.long_response == "drop":
            self.keep[chunk] &= ~self.long[chunk]
        return [row[: limits.response_tokens] for row, kept in zip(ids, self.keep[chunk]) if kept]

    def check_mismatch(self) -> None:
        """Refuse data of which too many conversations do not start with their prompt."""
        if self.mismatches > self._limits.max_mismatch * max(self._n_chat, 1):
            raise DataError(
                f"in {self.mismatches} of {self._n_chat} chat responses the conversation does not start with its prompt as "
                f"the chat template renders it (at most {self._limits.max_mismatch:.1%} accepted); the template rewrites "
                "earlier turns or adds something before a reply; raise limits.max_mismatch to tokenise those replies apart"
            )


def _cut_left(tokenizer: Any, ids: Ids, most: int) -> Ids:
    if len(ids) <= most:
        return ids
    bos = tokenizer.bos_token_id
    return [bos, *ids[len(ids) - most + 1 :]] if bos is not None and ids[0] == bos else ids[len(ids) - most :]
