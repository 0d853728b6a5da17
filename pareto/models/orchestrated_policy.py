"""A policy whose weights come from the prompt: an orchestrator in front of any policy that takes weights row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from pareto import simplex
from pareto.data.encode import encode_prompts
from pareto.data.pairs import Ragged
from pareto.data.texts import Text
from pareto.errors import ShapeError
from pareto.models.generate import Reply, Sampling
from pareto.models.hidden_features import prompt_features
from pareto.models.orchestrator import Orchestrator, blend
from pareto.models.prefix_cache import PrefixCache
from pareto.models.streaming import Piece
from pareto.models.text_policy import Encoded
from pareto.objectives import Objectives


@final
@dataclass(frozen=True, eq=False)
class PromptReader:
    """What an orchestrator says of prompts.

    Args:
        network: the orchestrator.
        order: [m] its outputs in the order of the run's objectives.
        reference: the frozen model whose features it reads.
        tokenizer: its tokenizer.
    """

    network: Orchestrator
    order: tuple[int, ...]
    reference: Any
    tokenizer: Any

    def weights(self, prompts: Sequence[Text]) -> np.ndarray:
        """[n, m] on the simplex."""
        if not len(prompts):
            return np.zeros((0, len(self.order)))
        features = prompt_features(self.reference, Ragged.of(encode_prompts(self.tokenizer, prompts)))
        return self.network.weights(features)[:, list(self.order)]


@final
@dataclass(frozen=True, eq=False)
class OrchestratedPolicy:
    """A steerable policy under the weights of each prompt, tilted by a user's prior; implements `DecodablePolicy`.

    What calls name `weights` is the user's prior here:  w(x) proportional to prior * g(x)^strength.

    Args:
        inner: a policy that takes one weight vector a row.
        reader: gives g(x).
        prior: [m] where a call gives none.
        strength: of the orchestrator against the prior.
        name: of the orchestrator, in words.
    """

    inner: Any
    reader: PromptReader
    prior: np.ndarray
    strength: float
    name: str

    @property
    def model(self) -> Any:
        """The inner policy's."""
        return self.inner.model

    @property
    def tokenizer(self) -> Any:
        """The inner policy's."""
        return self.inner.tokenizer

    @property
    def objectives(self) -> Objectives:
        """The inner policy's."""
        return self.inner.objectives

    @property
    def digest(self) -> str:
        """The inner policy's: caches hold tokens and coefficients, whatever chose the coefficients."""
        return hashlib.sha256(f"orchestrated {self.inner.digest}".encode()).hexdigest()

    def describe(self) -> str:
        """What is served, in words."""
        prior = ", ".join(f"{k}={v:.3g}" for k, v in self.objectives.named(self.prior).items())
        describe = getattr(self.inner, "describe", lambda: "one policy")
        return f"weights of each prompt from {self.name}, prior {prior}; {describe()}"

    def weights(self, prompts: Sequence[Text], prior: Any = None) -> np.ndarray:
        """[n, m] the weights that prompts are served under.

        Args:
            prompts: strings or chats.
            prior: for all prompts or one for each; None takes the policy's own.

        Raises:
            ShapeError: neither one prior nor one for each prompt.
        """
        own, rows = self.reader.weights(prompts), self._priors(prior, len(prompts))
        return np.stack([blend(g, p, self.strength) for g, p in zip(own, rows)]) if len(own) else own

    def encode(self, prompts: Sequence[Text], weights: Any = None) -> Encoded:
        """Prompts under their own weights and a prior."""
        return self.inner.encode(prompts, self.weights(prompts, weights))

    def generate(
        self,
        prompts: Sequence[Text],
        *,
        weights: Any = None,
        max_new_tokens: int = 64,
        seed: int | Sequence[int] = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
    ) -> list[str]:
        """One reply per prompt; `weights` is the prior, for all prompts or one for each."""
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=float(temperature), top_p=float(top_p))
        return [r.text for r in self.replies(prompts, sampling, weights=weights, seed=seed)]

    def replies(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: Any = None,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> list[Reply]:
        """Replies with their tokens and log-probabilities; arguments as in `generate`."""
        if not len(prompts):
            return []
        own = self.weights(prompts, weights)
        return self.inner.replies(prompts, sampling, weights=own, seed=seed, cache=cache)

    def stream(
        self,
        prompts: Sequence[Text],
        sampling: Sampling,
        *,
        weights: Any = None,
        seed: int | Sequence[int] = 0,
        cache: PrefixCache | None = None,
    ) -> Iterator[Piece]:
        """Pieces of the replies as they are drawn."""
        own = self.weights(prompts, weights)
        return self.inner.stream(prompts, sampling, weights=own, seed=seed, cache=cache)

    def logps(self, prompts: Sequence[Text], responses: Sequence[Text], *, weights: Any = None) -> np.ndarray:
        """[B] float64, nats: log-probability of each response, its end token included, under its prompt's weights."""
        if not len(prompts):
            return self.inner.logps(prompts, responses)
        return self.inner.logps(prompts, responses, weights=self.weights(prompts, weights))

    def _priors(self, prior: Any, n: int) -> list[np.ndarray]:
        if prior is None:
            return [self.prior] * n
        if isinstance(prior, Mapping):
            rows = [self.objectives.vector(prior)]
        elif len(prior) and isinstance(prior[0], Mapping):
            rows = [self.objectives.vector(p) for p in prior]
        else:
            array = np.atleast_2d(np.asarray(prior, dtype=np.float64))
            rows = [self.objectives.vector(self.objectives.named(row)) for row in array]
        if len(rows) not in (1, n):
            raise ShapeError(f"expected one prior, or one for each of {n} prompts; got {len(rows)}")
        return [simplex.check(r) for r in (rows if len(rows) == n else rows * n)]
