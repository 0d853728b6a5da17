"""A policy that is told its weights in front of the prompt: any weights, another vector in every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from pareto.core.logps import response_logps, sums
from pareto.data.encode import encode_prompts, encode_responses
from pareto.data.pairs import Ragged, ResponseTable
from pareto.data.texts import Text
from pareto.errors import ShapeError
from pareto.models.adapters import load_backbone
from pareto.models.conditioning import Conditioning, extend, load_conditioning
from pareto.models.fixed_prefix import FixedPrefix
from pareto.models.generate import Reply, Sampling, generate_to
from pareto.models.heads import base_of
from pareto.models.prefix_cache import PrefixCache
from pareto.models.streaming import Piece, stream_to
from pareto.models.text_policy import Encoded
from pareto.objectives import Objectives

Weights = Mapping[str, float] | Sequence[Any] | np.ndarray
"""Objective -> number or [m] for all rows; or one of these for each row."""


def load_conditioned(reference: Any, folder: Path) -> tuple[Any, Conditioning]:
    """Load a policy that reads its weights, told nothing yet.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.

    Raises:
        ArtifactError: it is incomplete.
    """
    conditioning, rows = load_conditioning(folder)
    model = load_backbone(reference, folder)
    extend(model, rows)
    return model.eval(), conditioning


def load_told(reference: Any, folder: Path, weights: Mapping[str, float]) -> Any:
    """Load a policy that reads its weights and tell it these, once and for all: an ordinary model to everybody else.

    Args:
        reference: as in `load_conditioned`.
        folder: a policy's folder.
        weights: objective -> number.
    """
    model, conditioning = load_conditioned(reference, folder)
    numbers = np.array([weights[name] for name in conditioning.objectives])
    prefix = FixedPrefix(conditioning.prefix(numbers), model)
    prefix.put_on(base_of(model).base_model)
    sizes = base_of(model).config.get_text_config()
    if getattr(sizes, "max_position_embeddings", None):  # what is left for prompts and replies
        sizes.max_position_embeddings -= len(prefix.ids)
    return model


@final
@dataclass(frozen=True, eq=False)
class PromptPolicy:
    """A conditioned model under weights; implements `TextPolicy` and `DecodablePolicy`.

    Weights are tokens before the prompt which no text can spell, so that a prompt cannot change them. Other weights are
    another prompt: they draw other random numbers under the same seed.

    Args:
        model: it reads the statements of the conditioning.
        tokenizer: its tokenizer.
        objectives: of the run.
        weights: [m] where a call gives none.
        conditioning: how weights are said.
        digest: of everything that decides logits but tokens.
    """

    model: Any
    tokenizer: Any
    objectives: Objectives
    weights: np.ndarray
    conditioning: Conditioning
    digest: str

    def encode(self, prompts: Sequence[Text], weights: Weights | None = None) -> Encoded:
        """Token ids of prompts, each behind what is said of its weights.

        Raises:
            ShapeError: neither one weight vector nor one for each prompt.
            SimplexError: weights that the policy cannot be told.
        """
        ids = encode_prompts(self.tokenizer, prompts)
        return Encoded([said + own for said, own in zip(self._prefixes(weights, len(ids)), ids)], None)

    def generate(
        self,
        prompts: Sequence[Text],
        *,
        weights: Weights | None = None,
        max_new_tokens: int = 64,
        seed: int | Sequence[int] = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        cache: PrefixCache | None = None,
    ) -> list[str]:
        """One reply per prompt; the reply to a prompt does not depend on its neighbours in the batch.

        Args:
            prompts: strings or chats.
            weights: for all prompts, or one for each; None takes the policy's own.
            max_new_tokens: longest reply, end token included.
            seed: of all draws, or one for each prompt.
            temperature: divides the logits; 0 takes the likeliest token.
            top_p: draw from the likeliest tokens whose probabilities reach this sum.
            cache: from `prefix_cache`.
        """
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=float(temperature), top_p=float(top_p))
        return [r.text for r in self.replies(prompts, sampling, weights=weights, seed=seed, cache=cache)]

    def replies(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: Weights | None = None,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> list[Reply]:
        """Replies with their tokens and log-probabilities; arguments as in `generate`."""
        ids = self.encode(prompts, weights).ids
        return generate_to(self.model, self.tokenizer, ids, sampling, seed=seed, cache=cache)

    def stream(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: Weights | None = None,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> Iterator[Piece]:
        """Pieces of the replies as they are drawn; those of a row, put together, are the text that `generate` gives."""
        ids = self.encode(prompts, weights).ids
        return stream_to(self.model, self.tokenizer, ids, sampling, seed=seed, cache=cache)

    def logps(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, weights: Weights | None = None
    ) -> np.ndarray:
        """[B] float64, nats: log-probability of each response, its end token included, given prompt and weights.

        Raises:
            ShapeError: not as many prompts as responses.
        """
        if len(prompts) != len(responses):
            raise ShapeError(f"a prompt is needed for each response; got {len(prompts)} and {len(responses)}")
        if not len(prompts):
            return np.zeros(0)
        plain = encode_prompts(self.tokenizer, prompts)
        replies, _ = encode_responses(self.tokenizer, prompts, responses, plain)
        told = self.encode(prompts, weights).ids
        table = ResponseTable(Ragged.of(told), Ragged.of(replies), np.arange(len(told)))
        return sums(table, response_logps(self.model, table))

    def prefix_cache(self, *, block_tokens: int = 32, max_bytes: int = 1 << 30) -> PrefixCache:
        """An empty cache of prompt beginnings for this policy; see `PrefixCache`."""
        return PrefixCache(self.digest, block_tokens=block_tokens, max_bytes=max_bytes)

    def describe(self) -> str:
        """What is served, in words."""
        told = ", ".join(f"{n}={w:.4g}" for n, w in self.objectives.named(self.weights).items())
        return f"prompt: told {told}"

    def _prefixes(self, weights: Weights | None, n: int) -> list[list[int]]:
        vectors = [self.weights] if weights is None else self._vectors(weights)
        if len(vectors) not in (1, n):
            raise ShapeError(
                f"expected one weight vector, or one for each of {n} prompts; got {len(vectors)}"
            )
        order = [self.objectives.index(name) for name in self.conditioning.objectives]
        found = [self.conditioning.prefix(v[order]) for v in vectors]
        return found if len(found) == n else found * n

    def _vectors(self, weights: Any) -> list[np.ndarray]:
        if isinstance(weights, Mapping):
            return [self.objectives.vector(weights)]
        if len(weights) and isinstance(weights[0], Mapping):
            return [self.objectives.vector(w) for w in weights]
        return [
            self.objectives.vector(self.objectives.named(row))
            for row in np.atleast_2d(np.asarray(weights, dtype=np.float64))
        ]
