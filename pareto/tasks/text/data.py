"""From data files to labelled pairs in three parts that share no prompt."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from pareto.config import Config
from pareto.data.paths import data_file
from pareto.data.preferences import Preferences
from pareto.data.report import normalised
from pareto.data.texts import Text, plain
from pareto.errors import DataError
from pareto.models.rewards import build_reward, evaluate
from pareto.rng import derive_seed
from pareto.tasks.text.objectives import TextObjectives

PARTS = ("train", "selection", "heldout")


class SplitConfig(Config):
    """Which share of the prompts is kept from training.

    A prompt's part is decided by a hash of its text without case and extra white space, so it stays the same whatever
    else is in the data, and near-equal prompts stay together.

    Args:
        selection: share for choices.
        heldout: share for what is reported.
        seed: another seed is another split.
    """

    selection: float = Field(default=0.1, gt=0, lt=1)
    heldout: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _something_to_train_on(self) -> SplitConfig:
        if self.selection + self.heldout >= 1:
            raise ValueError(f"selection + heldout must be below 1; got {self.selection + self.heldout:g}")
        return self

    def part_of(self, prompt: Text) -> str:
        """The part a prompt belongs to."""
        u = derive_seed("split", self.seed, normalised(prompt)) / 2**63
        if u < self.heldout:
            return "heldout"
        return "selection" if u < self.heldout + self.selection else "train"

    def divide(self, data: Preferences) -> dict[str, Preferences]:
        """The data in three parts.

        Raises:
            DataError: a part without pairs.
        """
        parts = np.array([self.part_of(p) for p in data.prompts])
        divided = {part: data.of_prompts(parts == part) for part in PARTS}
        for part, rows in divided.items():
            if not len(rows):
                raise DataError(
                    f"the {part} part holds {len(rows.prompts)} of {len(data.prompts)} prompts and no pair; give more data "
                    "or change task.split"
                )
        return divided


def files_sha256(files: Sequence[str]) -> dict[str, str]:
    """File -> digest of its bytes.

    Raises:
        DataError: one is not there.
    """
    found = {name: data_file(name) for name in files}
    return {name: _file_sha256(p, p.stat().st_size, p.stat().st_mtime_ns) for name, p in found.items()}


def label(
    data: Preferences, objectives: TextObjectives, tokenizer: Any, choice: str | None = None
) -> tuple[Preferences, np.ndarray]:
    """Complete the labels: one column per objective, those of derived objectives computed.

    Args:
        data: as read.
        objectives: the task's.
        tokenizer: the model's, for objectives that count tokens.
        choice: the label that says which response was preferred overall, or None.

    Returns:
        The data with the task's objectives, and [n_responses, m] float64 scores, larger is better, divided by each
        objective's scale, NaN where there is none.

    Raises:
        ObjectiveError: no pair has a winner under some objective.
    """
    columns, rewards = {}, []
    if choice is not None:
        data = data.with_choice(choice)
    for spec in objectives.specs:
        if spec.derive is None:
            columns[spec.name] = spec.column
            score = _given_scores(data, str(spec.column))
        else:
            scorer = build_reward(spec.derive).bind(tokenizer)
            sign = 1.0 if scorer.direction == "max" else -1.0
            score = sign * data.scored_by(lambda p, r, scorer=scorer: evaluate(scorer, _plain(p), _plain(r)))
            columns[spec.name] = f"derived {spec.name}"
            data = data.with_objective(columns[spec.name], score, spec.band)
        rewards.append(score / spec.scale)
    labelled = data.select(objectives.names, columns)
    labelled.require_labels()
    return labelled, np.column_stack(rewards)


def _given_scores(data: Preferences, column: str) -> np.ndarray:
    """[n_responses] mean of the scores that the data give each response, NaN where none."""
    total, n = np.zeros(len(data.responses)), np.zeros(len(data.responses))
    if data.scores is not None:
        score = data.scores[:, data.objectives.index(column)].astype(np.float64)
        known = ~np.isnan(score)
        np.add.at(total, data.rated[known], score[known])
        np.add.at(n, data.rated[known], 1.0)
    return np.divide(total, n, out=np.full(len(total), np.nan), where=n > 0)


def _plain(texts: Iterable[Text]) -> Sequence[str]:
    return [plain(t) for t in texts]


@functools.lru_cache(maxsize=256)
def _file_sha256(path: Path, size: int, modified_ns: int) -> str:
    """Digest of a file; size and time of change are there so that a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
