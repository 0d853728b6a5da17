"""Whether a reply holds the right answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import PrivateAttr, field_validator

from pareto.data.bad_rows import BadRows
from pareto.data.files import read_rows
from pareto.data.paths import data_file
from pareto.errors import DataError
from pareto.models.rewards import REWARDS, Reward
from pareto.objectives import Direction

NUMBER = r"(-?\d[\d,]*(?:\.\d+)?)"


@REWARDS.register(
    "exact_answer", source="GSM8K (Cobbe et al., 2021), arXiv 2110.14168: the number after ####"
)
class ExactAnswer(Reward):
    """1 where the last match of a pattern in the reply equals the one in the known answer, else 0.

    Commas within numbers and white space around answers do not count.

    Args:
        file: rows with the prompts and their answers; relative paths start from the data folder.
        prompt_column: column of the prompt.
        answer_column: column of the answer.
        pattern: its first group is the answer; the last match counts, in answers and in replies alike.
    """

    direction: ClassVar[Direction] = "max"
    unit: ClassVar[str] = "share"
    file: str
    prompt_column: str = "question"
    answer_column: str = "answer"
    pattern: str = NUMBER
    _answers: dict[str, str] | None = PrivateAttr(default=None)

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if groups < 1:
            raise ValueError("the pattern needs a group, (...), around the answer")
        return pattern

    def score(self, prompts: Sequence[str], replies: Sequence[str]) -> np.ndarray:
        """[B] 0 or 1.

        Raises:
            DataError: a prompt without a known answer.
        """
        if self._answers is None:
            self._answers = self._read()
        unknown = [p for p in prompts if p.strip() not in self._answers]
        if unknown:
            raise DataError(
                f"{self.file} has no answer to {len(unknown)} prompts; the first is {unknown[0][:60]!r}"
            )
        right = [self._answer(r) == self._answers[p.strip()] for p, r in zip(prompts, replies)]
        return np.array(right, dtype=np.float64)

    def _read(self) -> dict[str, str]:
        answers = {}
        path = data_file(self.file)
        for line, row in read_rows(path, BadRows()):
            prompt, text = row.get(self.prompt_column), row.get(self.answer_column)
            answer = None if text is None else self._answer(str(text))
            if not isinstance(prompt, str) or answer is None:
                raise DataError(
                    f"{path}:{line}: expected a prompt in {self.prompt_column!r} and text that matches {self.pattern!r} in "
                    f"{self.answer_column!r}"
                )
            answers[prompt.strip()] = answer
        return answers

    def _answer(self, text: str) -> str | None:
        found = re.findall(self.pattern, text)
        if not found:
            return None
        last = found[-1] if isinstance(found[-1], str) else found[-1][0]
        return last.replace(",", "").strip()
