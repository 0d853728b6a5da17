"""Where a step of a reply ends: after a text pattern, after so many tokens, or with the reply."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, final

import numpy as np
from pydantic import Field, field_validator

from pareto.config import Config


class Steps(Config, ABC):
    """A rule that looks back only: whether a token ends a step depends on the step's own tokens up to it."""

    @abstractmethod
    def ended(self, tokenizer: Any, step: Sequence[int]) -> bool:
        """Whether the last of a step's tokens so far ends it.

        Args:
            tokenizer: of the ids.
            step: token ids since the last step ended, at least one.
        """

    def ends(self, tokenizer: Any, ids: Sequence[int]) -> np.ndarray:
        """[k] int64, positions of the tokens that end the steps of a reply; the last token always ends one.

        Args:
            tokenizer: of the ids.
            ids: [n] tokens of the reply, without its end token.
        """
        found, start = [], 0
        for at in range(len(ids)):
            if at + 1 == len(ids) or self.ended(tokenizer, ids[start : at + 1]):
                found.append(at)
                start = at + 1
        return np.array(found, dtype=np.int64)


@final
class AfterText(Steps):
    r"""A step ends with the token that completes a match of a regular expression in the step's text.

    Args:
        pattern: "\n" for reasoning that puts a step on a line; r'[.!?]["\')\]]*$' ends sentences.
        min_tokens: no step is shorter, but for the last.
        max_tokens: no step is longer.

    Source: Li et al. (2025), arXiv 2510.01167: their code ends a step at a line or sentence, between 8 and 256 tokens.
    """

    kind: Literal["text"] = "text"
    pattern: str = "\n"
    min_tokens: int = Field(default=1, ge=1)
    max_tokens: int = Field(default=256, ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    def ended(self, tokenizer: Any, step: Sequence[int]) -> bool:
        """Whether the pattern occurs in the step's text, or the step is as long as it may be."""
        if len(step) < self.min_tokens:
            return False
        if len(step) >= self.max_tokens:
            return True
        return re.search(self.pattern, tokenizer.decode(list(step), skip_special_tokens=True)) is not None


@final
class EveryTokens(Steps):
    """A step is so many tokens."""

    kind: Literal["tokens"] = "tokens"
    n: int = Field(default=1, ge=1)

    def ended(self, tokenizer: Any, step: Sequence[int]) -> bool:
        """Whether the step has its tokens."""
        return len(step) >= self.n


@final
class WholeReply(Steps):
    """The reply is one step: an ordinary reward model."""

    kind: Literal["reply"] = "reply"

    def ended(self, tokenizer: Any, step: Sequence[int]) -> bool:
        """Never before the reply does."""
        return False


AnySteps = Annotated[AfterText | EveryTokens | WholeReply, Field(discriminator="kind")]
