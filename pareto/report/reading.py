"""Read a run folder into memory. Only front.json must be there; what else is there is read."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pareto import policy_set
from pareto.errors import ArtifactError
from pareto.policy_set import PolicySet

T = TypeVar("T")


@dataclass(frozen=True)
class UnitScores:
    """One policy's held-out scores.

    Args:
        values: [n_units, m] float64, in the objectives' own directions.
        unit_ids: [n_units] names of the units.
    """

    values: np.ndarray
    unit_ids: np.ndarray


@dataclass(frozen=True)
class Run:
    """A run folder in memory.

    Args:
        name: the folder's own name, without its path.
        policies: what front.json holds.
        scores: policy id -> its scores per unit, where they are there.
        samples: policy id -> rows of its samples, where they are there.
        spent: policy id -> (unit, amount) that its own job spent in training, where its log says so.
        config: text of config.yaml, or None.
    """

    name: str
    policies: PolicySet
    scores: Mapping[str, UnitScores] = field(default_factory=dict)
    samples: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    spent: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    config: str | None = None


def read_runs(folder: Path | str) -> list[Run]:
    """Read a run folder: one run for every method whose policies it holds; see `read_run`."""
    methods = policy_set.load(folder).methods
    return [read_run(folder)] if len(methods) == 1 else [read_run(folder, name) for name in methods]


def read_run(folder: Path | str, method: str | None = None) -> Run:
    """Read a run folder.

    Args:
        folder: what `pareto sweep` or `pareto import` wrote.
        method: the one of several whose policies are wanted; None takes all together.

    Raises:
        ArtifactError: no run folder, unfinished, changed since it was written, or a broken file; names the file.
    """
    folder = Path(folder)
    policies = policy_set.load(folder, method)
    m = len(policies.objectives)
    own = folder / "configs" / f"{method}.yaml"
    config = own if own.is_file() else folder / "config.yaml"
    return Run(
        name=folder.resolve().name if method is None else f"{folder.resolve().name}-{method}",
        policies=policies,
        scores=_each(policies, "scores", ".npz", lambda path: _read_scores(path, m)),
        samples=_each(policies, "samples", ".jsonl", _read_samples),
        spent={i: cost for i, cost in _each(policies, "metrics", ".jsonl", _read_spent).items() if cost},
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else None,
    )


def _each(policies: PolicySet, folder: str, suffix: str, read: Callable[[Path], T]) -> dict[str, T]:
    """Policy id -> what its file holds, of those that are there and are what the manifest says."""
    names = {record.id: f"{folder}/{record.id}{suffix}" for record in policies}
    there = {i: name for i, name in names.items() if (policies.folder / name).is_file()}
    return {i: read(policies.checked_file(name)) for i, name in there.items()}


def _read_scores(path: Path, m: int) -> UnitScores:
    try:
        # From memory: of a broken file numpy would leave the handle open.
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            scores = UnitScores(np.asarray(arrays["values"], dtype=np.float64), arrays["unit_ids"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} is not a readable score file ({error}); score the run again") from error
    if scores.values.shape != (len(scores.unit_ids), m):
        raise ArtifactError(
            f"{path}: expected values [{len(scores.unit_ids)}, {m}], one row per unit; "
            f"got {list(scores.values.shape)}; score the run again"
        )
    return scores


def _read_samples(path: Path) -> list[dict[str, Any]]:
    rows = []
    # Only "\n" ends a row: a reply may hold other line separators.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = finite(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{path}:{number}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ArtifactError(f"{path}:{number}: expected an object; got {type(row).__name__}")
        rows.append(row)
    return rows


_LOGGED = {"tokens": "train_tokens", "env_steps": "env_steps"}
"""What a training log counts, and what that is called among the costs of front.json."""


def _read_spent(path: Path) -> tuple[str, float] | None:
    """What the last record of a log counts; None where it counts nothing, or is torn."""
    last = path.read_bytes().rstrip().rpartition(b"\n")[2]
    try:
        record = json.loads(last)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    counted = [
        (unit, float(record[name]))
        for name, unit in _LOGGED.items()
        if isinstance(record.get(name), int | float)
    ]
    return next((pair for pair in counted if math.isfinite(pair[1]) and pair[1] > 0), None)


def finite(value: Any) -> Any:
    """The same JSON value with NaN and infinities as None: a report never shows them as numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
