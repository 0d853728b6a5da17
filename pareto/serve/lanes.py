"""Lanes: requests that one loaded policy answers, side by side where it can be decoded token by token."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pareto.data.encode import encode_prompts
from pareto.data.texts import Text
from pareto.errors import UsageError
from pareto.models.generate import end_ids, room_for
from pareto.models.prefix_cache import PrefixCache
from pareto.models.text_policy import Encoded


@dataclass(eq=False)
class Lane:
    """One loaded policy and who waits for it.

    Args:
        policy: a `DecodablePolicy`.
        takes_weights: whether requests bring weights, or the policy has its own.
        prefix_bytes: most memory of kept prompt beginnings.
        why: why this method serves, in words.
    """

    policy: Any
    takes_weights: bool
    prefix_bytes: int
    method: str
    why: str = ""
    waiting: deque[Any] = field(default_factory=deque)
    batches: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = self.policy.model.eval()
        self.tokenizer = self.policy.tokenizer
        self.ends = end_ids(self.model, self.tokenizer)
        self.pad = self.tokenizer.pad_token_id or 0
        self.per_row = bool(getattr(self.model, "per_row", True))
        self.prefixes = self._prefixes()

    @property
    def digest(self) -> str:
        """Of everything that decides replies but prompts and weights."""
        return self.policy.digest

    def encode(self, prompts: Sequence[Text], weights: Any) -> Encoded:
        """Token ids and coefficients of requests."""
        return self.policy.encode(prompts, weights if self.takes_weights else None)

    def room(self, prompt: Sequence[int], wanted: int) -> int:
        """Longest reply that fits."""
        return room_for(self.model, prompt, wanted)

    def _prefixes(self) -> PrefixCache | None:
        """A cache of prompt beginnings, or None for models that keep something else than keys and values."""
        k = getattr(self.model, "n", None)
        row = None if k is None else torch.full((1, k), 1.0 / k, dtype=torch.float64)
        try:
            PrefixCache("probe").read(self.model, [[self.pad, self.pad]], row)
        except UsageError:
            return None
        return PrefixCache(self.policy.digest, max_bytes=self.prefix_bytes)


@dataclass(eq=False)
class WholeLane:
    """A policy that writes whole replies by its own ways, such as guided decoding: one request after the other.

    While it writes one, the other lanes wait.

    Args:
        policy: has `generate`, and a tokenizer itself or in the policy that it guides.
        takes_weights: whether `generate` takes weights.
        method: steering method.
    """

    policy: Any
    takes_weights: bool
    method: str
    waiting: deque[Any] = field(default_factory=deque)
    batches: list[Any] = field(default_factory=list)
    per_row: bool = True
    prefixes: None = None
    ends: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        inner = getattr(self.policy, "policy", self.policy)
        self.tokenizer, self.model = inner.tokenizer, inner.model
        self.digest = str(getattr(inner, "digest", ""))

    def encode(self, prompts: Sequence[Text], weights: Any) -> Encoded:
        """Token ids, to be counted; the weights go to the policy itself."""
        return Encoded(encode_prompts(self.tokenizer, prompts), None)

    def room(self, prompt: Sequence[int], wanted: int) -> int:
        """Longest reply that fits."""
        return room_for(self.model, prompt, wanted)

    def write(self, prompt: Text, weights: Any, sampling: Any, seed: int) -> str:
        """One reply."""
        options = {"weights": weights} if self.takes_weights and weights is not None else {}
        return self.policy.generate(
            [prompt],
            max_new_tokens=sampling.max_new_tokens,
            seed=seed,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            **options,
        )[0]


AnyLane = Lane | WholeLane
