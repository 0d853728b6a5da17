"""Preference data as text, in columns: every prompt and every response once, pairs as indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from pareto.data.interned import StoredTexts, where
from pareto.data.texts import Text
from pareto.errors import ObjectiveError, ShapeError
from pareto.objectives import Objective, Objectives

PAIR_COLUMNS = ("weight", "margin", "user", "group", "choice")
"""The optional columns of pairs; `PreferencePairs` has them too."""


class Band(NamedTuple):
    """How far two scores must lie apart for one to win: by more than `absolute`, and than `share` of the larger one."""

    absolute: float = 0.0
    share: float = 0.0

    def labels(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """[n] float32 from larger-is-better scores [n]: 1 where a wins, -1 where b, 0 within the band, NaN where unknown."""
        gap = a - b
        width = np.maximum(self.absolute, self.share * np.maximum(np.abs(a), np.abs(b)))
        label = np.where(np.abs(gap) > width, np.sign(gap), 0.0)
        return np.where(np.isnan(gap), np.nan, label).astype(np.float32)


@dataclass(frozen=True)
class StepRow:
    """A response in steps; `labels` are NaN where unknown."""

    prompt: int
    steps: tuple[str, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True)
class Preferences:
    """What preference files say, before tokenisation.

    Args:
        objectives: names of the m label columns; all maximised, since a label says who wins.
        prompts: [n_prompts] texts, each once.
        responses: [n_responses] texts, each once under its prompt.
        prompt_of: [n_responses] int64, the prompt each response answers.
        a, b: [n] int64, response indices of each pair.
        labels: [n, m] float32: 1 where a wins, -1 where b does, 0 for a tie, NaN where unknown.
        weight, margin: [n] float32 or None. user, group: [n] int64 (-1 unknown) or None.
        choice: [n] float32, which response was preferred overall (1 = a, -1 = b, 0 or NaN where nobody said), or None.
        users, groups: names of the codes in `user` and `group`.
        rated: [k] int64, responses that carry scores; one may be there several times.
        scores: [k, m] float32, NaN where unknown.
        stepwise: responses with a label per step.
    """

    objectives: Objectives
    prompts: Sequence[Text]
    responses: Sequence[Text]
    prompt_of: np.ndarray
    a: np.ndarray
    b: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None = None
    margin: np.ndarray | None = None
    user: np.ndarray | None = None
    group: np.ndarray | None = None
    choice: np.ndarray | None = None
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    rated: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray | None = None
    stepwise: tuple[StepRow, ...] = ()

    def __len__(self) -> int:
        return len(self.a)

    @property
    def stored(self) -> bool:
        """Whether the texts are on the disk, because there are too many for memory."""
        return isinstance(self.responses, StoredTexts)

    @property
    def prompt_of_pair(self) -> np.ndarray:
        """[n] int64."""
        return self.prompt_of[self.a]

    def with_objective(self, name: str, score: np.ndarray, band: Band) -> Preferences:
        """Add an objective whose winner is the response with the larger score.

        Args:
            name: a new objective.
            score: [n_responses] float64, larger is better.
            band: how far apart two scores must lie.

        Raises:
            ObjectiveError: the name is taken.
        """
        if score.shape != (len(self.responses),):
            raise ShapeError(
                f"a score for each of {len(self.responses)} responses is needed; got {score.shape}"
            )
        objectives = Objectives([*self.objectives, Objective(name)])
        column = band.labels(score[self.a], score[self.b])
        scores = self.scores
        if scores is not None:
            scores = np.column_stack([scores, score[self.rated].astype(np.float32)])
        return replace(
            self, objectives=objectives, labels=np.column_stack([self.labels, column]), scores=scores
        )

    def select(self, names: Sequence[str], labels: Mapping[str, str] | None = None) -> Preferences:
        """Keep some objectives, in this order; `labels` maps a name to the column it is called in the data.

        Raises:
            ObjectiveError: a column that the data do not have, with the nearest name.
        """
        columns = [self.objectives.index((labels or {}).get(n, n)) for n in names]
        return replace(
            self,
            objectives=Objectives(names),
            labels=self.labels[:, columns],
            scores=None if self.scores is None else self.scores[:, columns],
        )

    def of_prompts(self, keep: np.ndarray) -> Preferences:
        """The part that belongs to some prompts; indices are renumbered.

        Args:
            keep: [n_prompts] bool.
        """
        responses = keep[self.prompt_of]
        new_prompt, new_response = np.cumsum(keep) - 1, np.cumsum(responses) - 1
        pairs = responses[self.a]
        rated = responses[self.rated]
        columns = {c: None if (v := getattr(self, c)) is None else v[pairs] for c in PAIR_COLUMNS}
        return replace(
            self,
            prompts=where(self.prompts, keep),
            responses=where(self.responses, responses),
            prompt_of=new_prompt[self.prompt_of[responses]],
            a=new_response[self.a[pairs]],
            b=new_response[self.b[pairs]],
            labels=self.labels[pairs],
            rated=new_response[self.rated[rated]],
            scores=None if self.scores is None else self.scores[rated],
            stepwise=tuple(
                replace(s, prompt=int(new_prompt[s.prompt])) for s in self.stepwise if keep[s.prompt]
            ),
            **columns,
        )

    def scored_by(self, score: Callable[[Sequence[Text], Sequence[Text]], np.ndarray]) -> np.ndarray:
        """[n_responses] float64: `score(prompts, responses)` of every response."""
        return np.asarray(score([self.prompts[i] for i in self.prompt_of], self.responses), dtype=np.float64)

    def with_choice(self, column: str) -> Preferences:
        """Take the labels of a column for what was preferred overall; the column itself stays.

        Raises:
            ObjectiveError: a column that the data do not have, with the nearest name.
        """
        return replace(self, choice=self.labels[:, self.objectives.index(column)])

    def require_labels(self) -> None:
        """Check that every objective has at least one pair with a winner.

        Raises:
            ObjectiveError: one has none.
        """
        for j, name in enumerate(self.objectives.names):
            if not (np.nan_to_num(self.labels[:, j]) != 0).any():
                raise ObjectiveError(
                    f"no pair has a winner under objective {name!r} ({len(self)} pairs: all ties or unlabelled)"
                )
