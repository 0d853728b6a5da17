"""A Hugging Face causal model as a policy: generate and score text; and what a server asks of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from pareto.core.logps import response_logps, sums
from pareto.data.encode import encode_prompts, encode_responses
from pareto.data.pairs import Ragged, ResponseTable
from pareto.data.texts import Text
from pareto.errors import ShapeError, UsageError
from pareto.models.generate import Reply, Sampling, generate
from pareto.models.prefix_cache import PrefixCache
from pareto.models.streaming import Piece, stream
from pareto.objectives import Objectives


class Encoded(NamedTuple):
    """What decoding needs of requests.

    Args:
        ids: [B] token ids of the prompts, at least one each.
        coefficients: [B, K] of a mixture, or None where the model takes none.
    """

    ids: list[list[int]]
    coefficients: np.ndarray | None


@runtime_checkable
class DecodablePolicy(Protocol):
    """A text policy that can be decoded token by token beside others of its kind, each row under weights of its own.

    Weights act through the coefficients of the model, through the prompt's tokens, or through both: `encode` decides.
    """

    @property
    def model(self) -> Any:
        """What `pareto.models.decoder.Decoder` runs."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        ...

    @property
    def objectives(self) -> Objectives:
        """What it was trained for."""
        ...

    @property
    def digest(self) -> str:
        """Digest of everything that decides logits but tokens and coefficients; names prefix caches."""
        ...

    def encode(self, prompts: Sequence[Text], weights: Any = None) -> Encoded:
        """Prompts under weights (for all, or one vector each; None takes the policy's own)."""
        ...


class TransformersPolicy:
    """One model with its tokenizer; implements `TextPolicy`.

    Args:
        model: a causal model on its device, with adapters or without.
        tokenizer: its tokenizer.
        objectives: what it was trained for.
        digest: of its files; names prefix caches. A policy made in memory has none and is told by its own identity.
    """

    def __init__(self, model: Any, tokenizer: Any, objectives: Objectives, digest: str = "") -> None:
        self.model, self.tokenizer, self.objectives = model, tokenizer, objectives
        self.digest = digest or f"in memory {id(model)}"

    def encode(self, prompts: Sequence[Text], weights: Any = None) -> Encoded:
        """Token ids of prompts.

        Raises:
            UsageError: weights are given; this policy was made for some and has no others.
        """
        if weights is not None:
            raise UsageError("this policy is what it was trained to be; other weights need a steering method")
        return Encoded(encode_prompts(self.tokenizer, prompts), None)

    def generate(
        self,
        prompts: Sequence[Text],
        *,
        max_new_tokens: int = 64,
        seed: int | Sequence[int] = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[str]:
        """One reply per prompt; the reply to a prompt does not depend on its neighbours in the batch."""
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=float(temperature), top_p=float(top_p))
        return [reply.text for reply in self.replies(prompts, sampling, seed=seed)]

    def replies(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> list[Reply]:
        """Replies with their tokens and log-probabilities; see `pareto.models.generate.generate`."""
        return generate(self.model, self.tokenizer, prompts, sampling, seed=seed, cache=cache)

    def stream(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> Iterator[Piece]:
        """Pieces of the replies as they are drawn; those of a row, put together, are the text that `generate` gives."""
        return stream(self.model, self.tokenizer, prompts, sampling, seed=seed, cache=cache)

    def logps(self, prompts: Sequence[Text], responses: Sequence[Text]) -> np.ndarray:
        """[B] float64, nats: log-probability of each response, its end token included, given its prompt.

        Raises:
            ShapeError: not as many prompts as responses.
        """
        if len(prompts) != len(responses):
            raise ShapeError(f"a prompt is needed for each response; got {len(prompts)} and {len(responses)}")
        if not len(prompts):
            return np.zeros(0)
        table = response_table(self.tokenizer, prompts, responses)
        return sums(table, response_logps(self.model, table))


def response_table(tokenizer: Any, prompts: Sequence[Text], responses: Sequence[Text]) -> ResponseTable:
    """Token ids of responses, each with a prompt of its own."""
    ids = encode_prompts(tokenizer, prompts)
    replies, _ = encode_responses(tokenizer, prompts, responses, ids)
    return ResponseTable(Ragged.of(ids), Ragged.of(replies), np.arange(len(ids)))
