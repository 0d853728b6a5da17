"""Tokenised preference data in columns: every prompt and every response once, pairs as indices.

This is what trainers see. Prompts and responses are ragged int32 arrays; a response belongs to exactly one prompt, so
its reference log-probability is computed once however many pairs it appears in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import DataError, ObjectiveError, ShapeError
from pareto.objectives import Objectives

OPTIONAL = ("weight", "margin", "user", "group", "choice")
"""Columns of pairs that may be absent."""
STORE_IDS = 2**25
"""Tables of more token ids than this (128 MiB) are stored apart and mapped instead of read."""
_PIECE = 2**22


@dataclass(frozen=True)
class Ragged:
    """Sequences of different lengths in one array.

    Args:
        flat: [total] all elements, one sequence after the other.
        offsets: [n + 1] int64, where each sequence starts; the last is the total.
    """

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int] | np.ndarray], dtype: type = np.int32) -> Ragged:
        """Pack sequences."""
        rows = [np.asarray(s, dtype=dtype) for s in sequences]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(r) for r in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.zeros(0, dtype), offsets)

    @property
    def lengths(self) -> np.ndarray:
        """[n] int64."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, i: int) -> np.ndarray:
        return self.flat[self.offsets[i] : self.offsets[i + 1]]

    def take(self, rows: np.ndarray) -> Ragged:
        """Some sequences, copied, in the order of [n] int64 rows; one may come several times."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        at = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.flat[at], offsets)


@dataclass(frozen=True)
class ResponseTable:
    """Prompts and the responses that belong to them, as token ids.

    Args:
        prompts: n_prompts sequences.
        responses: n_responses sequences, each with its end token where it has one.
        prompt_of: [n_responses] int64, the prompt each response answers.
    """

    prompts: Ragged
    responses: Ragged
    prompt_of: np.ndarray

    def __post_init__(self) -> None:
        if len(self.prompt_of) != len(self.responses):
            raise ShapeError(
                f"prompt_of must name a prompt for each of {len(self.responses)} responses; got {len(self.prompt_of)}"
            )
        if len(self.prompt_of) and not (
            self.prompt_of.min() >= 0 and self.prompt_of.max() < len(self.prompts)
        ):
            raise DataError(
                f"prompt_of must lie in 0..{len(self.prompts) - 1}; got {self.prompt_of.min()}..{self.prompt_of.max()}"
            )

    def sha256(self) -> str:
        """Digest of all token ids and of which response answers which prompt."""
        h = hashlib.sha256()
        for part in (self.prompts, self.responses):
            for start in range(0, len(part.flat), _PIECE):  # the ids may be more than fits in memory
                h.update(np.ascontiguousarray(part.flat[start : start + _PIECE], dtype=np.int64).data)
            h.update(part.offsets.tobytes())
        h.update(np.ascontiguousarray(self.prompt_of, dtype=np.int64).tobytes())
        return h.hexdigest()


@dataclass(frozen=True)
class PreferencePairs:
    """Pairs of responses to one prompt with a label per objective.

    Args:
        objectives: names of the m label columns.
        table: prompts and responses.
        a, b: [n] int64, response indices; both answer the same prompt.
        labels: [n, m] float32: 1 where a is preferred, -1 where b is, 0 for a tie, NaN where unknown.
        weight: [n] float32, weight of each pair in the loss, or None.
        margin: [n] float32, by how much the winner should be ahead, in the data's own unit, or None.
        user: [n] int64, who labelled the pair, or None.
        group: [n] int64, known group of the pair, or None.
        choice: [n] float32, which response the labelling user preferred overall (1 = a, -1 = b), or None.
    """

    objectives: Objectives
    table: ResponseTable
    a: np.ndarray
    b: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None = None
    margin: np.ndarray | None = None
    user: np.ndarray | None = None
    group: np.ndarray | None = None
    choice: np.ndarray | None = None

    def __post_init__(self) -> None:
        n, m = len(self.a), len(self.objectives)
        if len(self.b) != n or self.labels.shape != (n, m):
            raise ShapeError(
                f"a, b and labels must agree: a [{n}], b [{len(self.b)}], labels {self.labels.shape}, {m} objectives"
            )
        astray = np.flatnonzero(self.table.prompt_of[self.a] != self.table.prompt_of[self.b])
        if len(astray):
            raise DataError(
                f"both responses of a pair must answer one prompt; pair {astray[0]} and {len(astray) - 1} more do not"
            )

    def __len__(self) -> int:
        return len(self.a)

    def decided(self, objective: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs with a winner under one objective.

        Returns:
            rows [k], chosen [k], rejected [k], all int64: pair index, response index of winner and loser. Ties and
            unknown labels are left out.

        Raises:
            ObjectiveError: unknown objective, or no pair has a winner under it.
        """
        label = self.labels[:, self.objectives.index(objective)]
        rows = np.flatnonzero(np.nan_to_num(label) != 0)
        if not len(rows):
            raise ObjectiveError(
                f"no pair has a winner under objective {objective!r} ({len(self)} pairs: all ties or unlabelled)"
            )
        a_wins = label[rows] > 0
        return (
            rows,
            np.where(a_wins, self.a[rows], self.b[rows]),
            np.where(a_wins, self.b[rows], self.a[rows]),
        )

    def save(self, path: Path) -> None:
        """Write one npz without pickle; beside it a token store `<name>.tokens` where the table is large."""
        columns = {k: v for k in OPTIONAL if (v := getattr(self, k)) is not None}
        if len(self.table.prompts.flat) + len(self.table.responses.flat) > STORE_IDS:
            _token_store().write_table(path.with_suffix(".tokens"), self.table)
        else:
            columns |= {
                "prompts": self.table.prompts.flat,
                "prompt_offsets": self.table.prompts.offsets,
                "responses": self.table.responses.flat,
                "response_offsets": self.table.responses.offsets,
                "prompt_of": self.table.prompt_of,
            }
        np.savez(
            path,
            objectives=np.array(self.objectives.names),
            a=self.a,
            b=self.b,
            labels=self.labels,
            **columns,
        )

    @classmethod
    def load(cls, path: Path) -> PreferencePairs:
        """Read what `save` wrote; a token store is mapped.

        Raises:
            ArtifactError: the token store beside it is incomplete.
        """
        with np.load(path, allow_pickle=False) as z:
            if "prompts" in z:
                table = ResponseTable(
                    Ragged(z["prompts"], z["prompt_offsets"]),
                    Ragged(z["responses"], z["response_offsets"]),
                    z["prompt_of"],
                )
            else:
                table = _token_store().open_table(path.with_suffix(".tokens"))
            columns = {k: z[k] for k in OPTIONAL if k in z}
            return cls(
                Objectives(str(n) for n in z["objectives"]), table, z["a"], z["b"], z["labels"], **columns
            )


def _token_store() -> Any:
    from pareto.data import token_store  # it stands on the tables of this file

    return token_store
