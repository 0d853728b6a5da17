"""Length in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import PrivateAttr

from pareto.errors import ConfigError
from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction


@REWARDS.register("tokens", source="definition")
class Tokens(Reward):
    """Count the tokens of a reply, special ones left out; fewer is better.

    Args:
        tokenizer: folder or hub id; None takes the policy's own.
    """

    direction: ClassVar[Direction] = "min"
    unit: ClassVar[str] = "tokens"
    tokenizer: str | None = None
    _loaded: Any = PrivateAttr(default=None)

    def bind(self, tokenizer: Any) -> Tokens:
        """The reward with a tokenizer to count with."""
        if self.tokenizer is not None:
            from pareto.models.tokenizers import load_tokenizer

            tokenizer = load_tokenizer(self.tokenizer)
        bound = self.model_copy()
        bound._loaded = tokenizer
        return bound

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] number of tokens.

        Raises:
            ConfigError: no tokenizer was bound.
        """
        if self._loaded is None:
            raise ConfigError("reward tokens counts with a tokenizer: bind(tokenizer) it first")
        if not replies:
            return np.zeros(0)
        ids = self._loaded(list(replies), add_special_tokens=False)["input_ids"]
        return np.array([len(row) for row in ids], dtype=np.float64)
