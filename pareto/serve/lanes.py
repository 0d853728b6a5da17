"""A lane: requests that one loaded policy decodes side by side."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch

from pareto.errors import UsageError
from pareto.models.generate import end_ids
from pareto.models.prefix_cache import PrefixCache


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

    def _prefixes(self) -> PrefixCache | None:
        """A cache of prompt beginnings, or None for models that keep something else than keys and values."""
        k = getattr(self.model, "n", None)
        row = None if k is None else torch.full((1, k), 1.0 / k, dtype=torch.float64)
        try:
            PrefixCache("probe").read(self.model, [[self.pad, self.pad]], row)
        except UsageError:
            return None
        return PrefixCache(self.policy.digest, max_bytes=self.prefix_bytes)
