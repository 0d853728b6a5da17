"""From what rows say, one by one, to columns: texts interned, rows about one pair merged, scored responses paired."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pareto.data.bad_rows import RowError
from pareto.data.interned import InMemory, Interned, OnDisk
from pareto.data.pairing import check_number, pairs_of
from pareto.data.preferences import Band, Preferences, StepRow
from pareto.data.shapes import DEFAULT_OBJECTIVE, Comparison, Meta, Rated, Said, Steps
from pareto.data.texts import Text, canonical
from pareto.errors import DataError, ObjectiveError, did_you_mean
from pareto.objectives import Objectives
from pareto.rng import generator

MAX_OBJECTIVES = 64
"""More objective names than this in one data set are a sign of a broken column."""


class Circumstances(NamedTuple):
    """What must agree for two rows to speak of one pair: weight, margin, and the codes of user and group (-1 unknown)."""

    weight: float
    margin: float
    user: int
    group: int


class Collector:
    """Columns that grow row by row, without keeping the rows.

    Args:
        wanted: the only objectives to keep, or None for all.
        spool: an empty folder where the texts are kept, or None for memory.
    """

    def __init__(self, wanted: Sequence[str] | None = None, spool: Path | None = None) -> None:
        self.wanted = None if wanted is None else frozenset(wanted)
        self.objectives: dict[str, None] = dict.fromkeys(wanted or ())
        self.seen: set[str] = set()
        self.shapes: Counter[str] = Counter()
        self.repeated = self.contradicted = self.doubled_ids = self.equal_responses = 0
        self._prompts: Interned = InMemory() if spool is None else OnDisk(spool / "prompts.texts")
        self._responses: Interned = InMemory() if spool is None else OnDisk(spool / "responses.texts")
        self._prompt_of = array("q")
        self._users: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._ids: set[str] = set()
        self._a, self._b = array("q"), array("q")
        self._labels = _Grid()
        self._same: dict[Circumstances, Circumstances] = {}
        self._of_pair: list[Circumstances] = []
        self._latest: dict[tuple[int, int, Circumstances], int] = {}
        self._rated = array("q")
        self._scores = _Grid()
        self._of_rated: list[Circumstances] = []
        self._stepwise: list[StepRow] = []

    def add(self, shape: str, said: Said) -> None:
        """Take in what one row says.

        Raises:
            RowError: the row brings more objective names than a data set can have.
        """
        match said:
            case Comparison():
                labels, here = self._mine(said.labels), self._circumstances(said.meta)
                prompt = self._prompts.code(said.prompt)
                self._compare(self._response(prompt, said.a), self._response(prompt, said.b), labels, here)
            case Rated():
                scores, here = [self._mine(s) for s in said.scores], self._circumstances(said.meta)
                prompt = self._prompts.code(said.prompt)
                for text, score in zip(said.responses, scores):
                    self._rated.append(self._response(prompt, text))
                    self._scores.append(score)
                    self._of_rated.append(here)
            case Steps():
                self._stepwise.append(StepRow(self._prompts.code(said.prompt), said.steps, said.labels))
        self.shapes[shape] += 1
        if said.meta.id is not None:
            self.doubled_ids += said.meta.id in self._ids
            self._ids.add(said.meta.id)

    def finish(self, bands: Mapping[str, Band], pairs_per_prompt: int | None) -> Preferences:
        """Pair the scored responses and close the columns.

        Args:
            bands: objective -> how far two scores must lie apart; exact where not given.
            pairs_per_prompt: most pairs of scored responses to one prompt, or None for all.

        Raises:
            DataError: no row said anything usable, or scored responses would make pairs out of proportion.
            ObjectiveError: a wanted objective is nowhere.
        """
        self._require()
        names = list(self.objectives) or [DEFAULT_OBJECTIVE]
        prompts = self._prompts.texts()
        self._pair_rated(names, bands, pairs_per_prompt, prompts)
        known = self._of_pair
        return Preferences(
            objectives=Objectives(names),
            prompts=prompts,
            responses=self._responses.texts(),
            prompt_of=np.array(self._prompt_of, np.int64),
            a=np.array(self._a, np.int64),
            b=np.array(self._b, np.int64),
            labels=self._labels.matrix(names),
            weight=_column([c.weight for c in known], np.float32, 1.0),
            margin=_column([c.margin for c in known], np.float32, 0.0),
            user=_column([c.user for c in known], np.int64, -1),
            group=_column([c.group for c in known], np.int64, -1),
            users=tuple(self._users),
            groups=tuple(self._groups),
            rated=np.array(self._rated, np.int64),
            scores=self._scores.matrix(names) if self._rated else None,
            stepwise=tuple(self._stepwise),
        )

    def _require(self) -> None:
        if not (self._a or self._rated or self._stepwise):
            raise DataError("the data hold no usable row")
        for name in self.wanted or ():
            if name not in self.seen:
                raise ObjectiveError(
                    f"objective {name!r} is nowhere in the data{did_you_mean(name, self.seen)}; there: "
                    f"{', '.join(sorted(self.seen)) or 'none'}"
                )

    def _mine(self, numbers: Mapping[str, float]) -> dict[str, float]:
        new = [n for n in numbers if n not in self.seen]
        if new and len(self.seen) + len(new) > MAX_OBJECTIVES:
            raise RowError(
                f"more than {MAX_OBJECTIVES} objectives in one data set; the new one is {new[0]!r}"
            )
        self.seen.update(new)
        mine = {n: v for n, v in numbers.items() if self.wanted is None or n in self.wanted}
        self.objectives.update(dict.fromkeys(mine))
        return mine

    def _circumstances(self, meta: Meta) -> Circumstances:
        here = Circumstances(
            1.0 if meta.weight is None else meta.weight,
            0.0 if meta.margin is None else meta.margin,
            -1 if meta.user is None else _code(self._users, meta.user),
            -1 if meta.group is None else _code(self._groups, meta.group),
        )
        return self._same.setdefault(here, here)  # nearly all rows share one; each pair keeps it twice

    def _response(self, prompt: int, text: Text) -> int:
        index = self._responses.code(text, prompt)
        if index == len(self._prompt_of):
            self._prompt_of.append(prompt)
        return index

    def _compare(self, a: int, b: int, labels: Mapping[str, float], here: Circumstances) -> None:
        """File a comparison: into the latest pair of the same two responses where that is silent on these objectives."""
        low, high, sign = (a, b, 1.0) if a < b else (b, a, -1.0)
        key = low, high, here
        pair = self._latest.get(key)
        if pair is not None:
            turned = sign if self._a[pair] == low else -sign
            before = {n: self._labels.get(n, pair) * turned for n in labels}
            if all(math.isnan(v) for v in before.values()):
                self._labels.fill(pair, {n: v * turned for n, v in labels.items()})
                return
            self.repeated += sum(before[n] == v for n, v in labels.items())
            self.contradicted += sum(before[n] * v < 0 for n, v in labels.items())
        self._latest[key] = self._labels.append(labels)
        self._a.append(a)
        self._b.append(b)
        self._of_pair.append(here)

    def _pair_rated(
        self, names: Sequence[str], bands: Mapping[str, Band], most: int | None, prompts: Sequence[Text]
    ) -> None:
        if not self._rated:
            return
        i, j = self._rated_pairs(most, prompts)
        scores = self._scores.matrix(names)
        labels = [bands.get(n, Band()).labels(scores[i, k], scores[j, k]) for k, n in enumerate(names)]
        for left, right, *row in zip(i.tolist(), j.tolist(), *(c.tolist() for c in labels)):
            known = {n: v for n, v in zip(names, row) if not math.isnan(v)}
            if known:
                self._compare(self._rated[left], self._rated[right], known, self._of_rated[left])

    def _rated_pairs(self, most: int | None, prompts: Sequence[Text]) -> tuple[np.ndarray, np.ndarray]:
        """[k], [k] int64: entries to be paired, each with each under one prompt and the same circumstances."""
        together: dict[tuple[int, Circumstances], list[int]] = {}
        for entry, (response, here) in enumerate(zip(self._rated, self._of_rated)):
            together.setdefault((self._prompt_of[response], here), []).append(entry)
        left, right = array("q"), array("q")
        check_number([len(entries) for entries in together.values()], most)
        for (prompt, _), entries in together.items():

            def stream(prompt: int = prompt) -> np.random.Generator:
                return generator("pairs of scored responses", canonical(prompts[prompt]))

            pairs, equal = pairs_of(entries, self._rated, most, stream)
            self.equal_responses += equal
            for i, j in pairs:
                left.append(i)
                right.append(j)
        return np.array(left, np.int64), np.array(right, np.int64)


class _Grid:
    """Rows of named float32 numbers that grow in both ways; NaN where nothing was said."""

    def __init__(self) -> None:
        self._columns: dict[str, array] = {}
        self._n = 0

    def append(self, numbers: Mapping[str, float]) -> int:
        """Add a row; returns its index."""
        for column in self._columns.values():
            column.append(math.nan)
        self._n += 1
        self.fill(self._n - 1, numbers)
        return self._n - 1

    def fill(self, row: int, numbers: Mapping[str, float]) -> None:
        """Set some numbers of a row."""
        for name, value in numbers.items():
            if name not in self._columns:
                self._columns[name] = array("f", [math.nan]) * self._n
            self._columns[name][row] = value

    def get(self, name: str, row: int) -> float:
        """One number."""
        return self._columns[name][row] if name in self._columns else math.nan

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """[rows, len(names)] float32."""
        nothing = array("f", [math.nan]) * self._n
        return np.column_stack([np.array(self._columns.get(n, nothing), np.float32) for n in names])


def _code(codes: dict, key: object) -> int:
    return codes.setdefault(key, len(codes))


def _column(values: Sequence[float], dtype: type, absent: float) -> np.ndarray | None:
    """The column, or None where no row had it."""
    column = np.array(values, dtype)
    return column if (column != absent).any() else None
