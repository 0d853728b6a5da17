"""A mixture of stored policies as one text policy whose weights may be given anew with every call and every row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from pareto import simplex
from pareto.core.logps import response_logps, sums
from pareto.data.encode import encode_prompts
from pareto.data.texts import Text
from pareto.errors import ShapeError, SimplexError
from pareto.models.generate import Reply, Sampling, generate
from pareto.models.mixing import Mixture
from pareto.models.prefix_cache import PrefixCache
from pareto.models.streaming import Piece, stream
from pareto.models.text_policy import Encoded, response_table
from pareto.objectives import Objectives

Weights = Mapping[str, float] | Sequence[Any] | np.ndarray
"""Objective -> number or [m] for all rows; or one of these for each row."""


@final
@dataclass(frozen=True, eq=False)
class MixedPolicy:
    """Policies of one run under weights; implements `TextPolicy`.

    Rows do not see their neighbours: the reply to a prompt depends on its own seed and weights only. The same prompt and
    seed under other weights draws the same random numbers.

    Args:
        model: the mixture, on its device.
        tokenizer: the tokenizer all policies share.
        objectives: of the run.
        weights: [m] where a call gives none.
        coefficients_of: weights [m] -> [K] shares of the mixed policies.
        method: name of the steering method.
        members: ids of the mixed policies, in the order of the coefficients.
        digest: sha256 of everything that decides logits but the weights; names prefix caches.
        extrapolate: whether weights outside the simplex were asked for.
    """

    model: Mixture
    tokenizer: Any
    objectives: Objectives
    weights: np.ndarray
    coefficients_of: Callable[[np.ndarray], np.ndarray]
    method: str
    members: tuple[str, ...]
    digest: str
    extrapolate: bool = False

    @property
    def shares(self) -> dict[str, float]:
        """Policy id -> its coefficient at the policy's own weights, those without share left out."""
        c = self.coefficients_of(self.weights)
        return {name: float(share) for name, share in zip(self.members, c) if share != 0}

    @property
    def extrapolated(self) -> bool:
        """Whether the policy's own weights or shares lie outside the simplex: nothing measured stands beside them."""
        return bool((self.weights < 0).any() or min(self.shares.values()) < 0)

    def describe(self) -> str:
        """What is served, in words."""
        shares = ", ".join(f"{share:.6g} x {name}" for name, share in self.shares.items())
        return f"{self.method}: {shares}" + (
            " (extrapolated, outside the simplex)" if self.extrapolated else ""
        )

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
        """One reply per prompt.

        Args:
            prompts: strings or chats.
            weights: for all prompts, or one for each; None takes the policy's own.
            max_new_tokens: longest reply, end token included.
            seed: of all draws, or one for each prompt.
            temperature: divides the mixed logits; 0 takes the likeliest token.
            top_p: draw from the likeliest tokens of the mixture whose probabilities reach this sum.
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
        """Replies with their tokens and log-probabilities under the mixture; arguments as in `generate`."""
        rows = self.rows(weights, len(prompts))
        with self.model.among(rows):
            return generate(
                self.model, self.tokenizer, prompts, sampling, seed=seed, coefficients=rows, cache=cache
            )

    def stream(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: Weights | None = None,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> Iterator[Piece]:
        """Pieces of the replies as they are drawn; several streams, and calls between, do not disturb each other."""
        rows = self.rows(weights, len(prompts))
        # not `among`: that is a state of the model, and other calls may come between two pieces
        return stream(
            self.model, self.tokenizer, prompts, sampling, seed=seed, coefficients=rows, cache=cache
        )

    def logps(
        self, prompts: Sequence[Text], responses: Sequence[Text], *, weights: Weights | None = None
    ) -> np.ndarray:
        """[B] float64, nats: log-probability of each response, its end token included, under the mixture.

        Raises:
            ShapeError: not as many prompts as responses.
        """
        if len(prompts) != len(responses):
            raise ShapeError(f"a prompt is needed for each response; got {len(prompts)} and {len(responses)}")
        rows = self.rows(weights, len(prompts))
        out = np.zeros(len(prompts))
        for vector in np.unique(rows, axis=0):  # rows that share their weights are scored together
            where = np.flatnonzero((rows == vector).all(axis=1)).tolist()
            table = response_table(self.tokenizer, [prompts[i] for i in where], [responses[i] for i in where])
            with self.model.among(vector[None]), self.model.at(torch.from_numpy(vector)):
                out[where] = sums(table, response_logps(self.model, table))
        return out

    def encode(self, prompts: Sequence[Text], weights: Weights | None = None) -> Encoded:
        """Token ids of prompts and their rows of coefficients; see `rows`."""
        return Encoded(encode_prompts(self.tokenizer, prompts), self.rows(weights, len(prompts)))

    def prefix_cache(self, *, block_tokens: int = 32, max_bytes: int = 1 << 30) -> PrefixCache:
        """An empty cache of prompt beginnings for this policy; see `PrefixCache`."""
        return PrefixCache(self.digest, block_tokens=block_tokens, max_bytes=max_bytes)

    def rows(self, weights: Weights | None, n: int) -> np.ndarray:
        """[n, K] coefficients of each row.

        Raises:
            ShapeError: neither one weight vector nor one for each row.
            SimplexError: weights outside the simplex without `extrapolate`, or that do not sum to 1.
        """
        vectors = [self.weights] if weights is None else self._vectors(weights)
        if len(vectors) not in (1, n):
            raise ShapeError(
                f"expected one weight vector, or one for each of {n} prompts; got {len(vectors)}"
            )
        check = simplex.check_affine if self.extrapolate else simplex.check
        found = [self.coefficients_of(check(w)) for w in vectors]
        return np.stack(found if len(found) == n else found * n) if n else np.zeros((0, len(self.members)))

    def _vectors(self, weights: Any) -> list[np.ndarray]:
        if isinstance(weights, Mapping):
            return [self.objectives.vector(weights)]
        if len(weights) and isinstance(weights[0], Mapping):
            return [self.objectives.vector(w) for w in weights]
        try:
            array = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise SimplexError(
                f"weights must be numbers, [m] or one row for each prompt; got {weights!r:.200}"
            ) from error
        return [self.objectives.vector(self.objectives.named(row)) for row in array]
