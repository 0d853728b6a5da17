"""Replies piece by piece: text as soon as its bytes are whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from pareto.data.encode import encode_prompts
from pareto.data.texts import Text
from pareto.models.generate import Sampling, draw_tokens, end_ids, room_for
from pareto.models.prefix_cache import PrefixCache

_BROKEN = "\ufffd"
"""What a decoder writes where a character's bytes are not all there yet."""


class Piece(NamedTuple):
    """What one more token adds to one reply.

    Args:
        row: which prompt the reply belongs to.
        text: new text; "" while a character's bytes are incomplete, and for special tokens.
        id: the token.
        logp: its log-probability under the policy, nats.
        end: None while the reply goes on; "stop" by an end token, "length" by running out of tokens.
    """

    row: int
    text: str
    id: int
    logp: float
    end: str | None


def stream(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Text],
    sampling: Sampling,
    *,
    seed: int | Sequence[int] = 0,
    coefficients: np.ndarray | None = None,
    cache: PrefixCache | None = None,
) -> Iterator[Piece]:
    """Give a piece for every token that is drawn; closing the iterator stops the work.

    Args:
        model: a causal model on its device, or a mixture.
        tokenizer: its tokenizer.
        prompts: strings or chats; beyond `sampling.batch_size` of them, later ones start when earlier ones are done.
        sampling: how to draw.
        seed: of all draws, or one for each prompt.
        coefficients: [B, K] of a mixture, one row a prompt.
        cache: of prompts that were read before.

    Raises:
        DataError: a prompt leaves no room for a reply within the model's positions.
    """
    ids = encode_prompts(tokenizer, prompts)
    return stream_to(model, tokenizer, ids, sampling, seed=seed, coefficients=coefficients, cache=cache)


def stream_to(
    model: Any,
    tokenizer: Any,
    ids: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seed: int | Sequence[int] = 0,
    coefficients: np.ndarray | None = None,
    cache: PrefixCache | None = None,
) -> Iterator[Piece]:
    """Yield the pieces of replies to prompts of which the token ids are known; see `stream`."""
    ends = end_ids(model, tokenizer)
    drawn = draw_tokens(
        model,
        ids,
        sampling,
        ends=ends,
        pad=tokenizer.pad_token_id or 0,
        seed=seed,
        coefficients=coefficients,
        cache=cache,
    )
    room = [room_for(model, prompt, sampling.max_new_tokens) for prompt in ids]
    texts = [GrowingText(tokenizer) for _ in ids]
    for row, token, logp in drawn:
        text = texts[row]
        full = len(text.ids) + 1 >= room[row]
        end = "stop" if token in ends else "length" if full else None
        yield Piece(row, text.add(token, last=end is not None), token, logp, end)


class GrowingText:
    """The text of one reply so far; its pieces, put together, are the text that `generate` gives.

    Args:
        tokenizer: of the policy.

    Attributes:
        ids: tokens so far.
        told: text so far.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.told = ""

    def add(self, token: int, *, last: bool) -> str:
        """What the token adds; at the end, everything that was held back."""
        self.ids.append(token)
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if not last and (text.endswith(_BROKEN) or not text.startswith(self.told)):
            return ""
        new = text[len(self.told) :]
        self.told = text
        return new
