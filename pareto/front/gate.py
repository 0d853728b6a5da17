"""The validation gate: what passes it is finite, float64, two-dimensional and oriented; what does not is named.

Hypervolume engines hang, crash or lose good points on a single NaN. Every public function of this room reads its
input through `admit`, so that no engine ever sees such a row and no row disappears in silence.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pareto.errors import ObjectiveError, ShapeError, UsageError
from pareto.objectives import Objective, Objectives

MAX_OBJECTIVES = 31
"""moocore's compile-time limit."""


class QuarantineWarning(UserWarning):
    """Rows with NaN or infinity were set aside; the message counts and names them."""


class OutsideReferenceWarning(UserWarning):
    """Points that are not better than the reference point contribute nothing; the message counts them."""


@dataclass(frozen=True)
class Points:
    """A checked set of points.

    Args:
        values: [n, m] float64, finite, larger is better in every column; n may be 0.
        ids: [n] id of each row: as given, else its position in the input.
        kept: [rows of the input] bool, which rows `values` holds, in order.
        quarantined: (id, why) of every row set aside, such as ("p3", "nan in helpful").
    """

    values: np.ndarray
    ids: Sequence[Any]
    kept: np.ndarray
    quarantined: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def m(self) -> int:
        """Number of objectives."""
        return self.values.shape[1]

    def outside(self, ref_point: np.ndarray) -> int:
        """Count the points that do not beat the oriented reference point [m] in every objective."""
        better = self.values > ref_point
        return 0 if better.all() else int((~better.all(axis=1)).sum())

    def scatter(self, figures: np.ndarray, fill: Any = 0) -> np.ndarray:
        """Spread figures [n] over the rows of the input; rows in quarantine get `fill`."""
        if len(figures) == len(self.kept):
            return figures
        out = np.full(len(self.kept), fill, dtype=figures.dtype)
        out[self.kept] = figures
        return out

    def warn(self, stacklevel: int = 3) -> None:
        """Warn with `QuarantineWarning` when rows were set aside."""
        if self.quarantined:
            named = "; ".join(f"{i} ({why})" for i, why in self.quarantined[:5])
            more = len(self.quarantined) - 5
            warnings.warn(
                f"{len(self.quarantined)} of {len(self.kept)} points are not finite and count for nothing: "
                f"{named}{f'; and {more} more' if more > 0 else ''}",
                QuarantineWarning,
                stacklevel=stacklevel,
            )


def admit(
    values: Any,
    ids: Sequence[Any] | None = None,
    objectives: Objectives | Sequence[Objective | str] | None = None,
    directions: Sequence[str] | None = None,
) -> Points:
    """Check a set of points, orient it, and set rows with NaN or infinity aside.

    Args:
        values: [n, m] numbers in the objectives' own directions: a numpy array, nested lists, a torch tensor, or a
            pandas frame (columns picked by objective name when `objectives` are named and the columns are too).
        ids: [n] names of the rows; default: a frame's index, else the position.
        objectives: names and directions of the columns.
        directions: [m] "max" or "min", for unnamed columns; default all "max". Not together with `objectives`.

    Returns:
        Points; never loses a finite row and never passes on one that is not.

    Raises:
        ShapeError: not numbers, not two-dimensional, m not in 1..31, or as many ids or directions as do not fit.
        ObjectiveError: an objective that the frame does not hold, or a direction other than "max" and "min".
    """
    array, names, ids = _read(values, ids, objectives)
    known = _objectives(objectives, directions)
    if array.shape == (0,):  # no points at all, hence no columns to count
        array = array.reshape(0, len(known) if known else 1)
    if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_OBJECTIVES:
        raise ShapeError(
            f"points must have shape [n, m] with 1 <= m <= {MAX_OBJECTIVES}; got shape {list(array.shape)}; "
            "one point is [[a, b]]"
        )
    rows, m = array.shape
    if known is not None:
        if len(known) != m:
            raise ShapeError(f"points have {m} columns but {len(known)} objectives were named")
        array = known.orient(array)
        names = known.names if objectives is not None else names
    if ids is None:
        ids = range(rows)
    elif len(ids) != rows:
        raise ShapeError(f"{rows} points need {rows} ids; got {len(ids)}")
    array = np.ascontiguousarray(array)
    finite = np.isfinite(array)
    if finite.all():
        return Points(array, ids, np.ones(rows, dtype=bool))
    kept = np.asarray(finite.all(axis=1))
    names = names or [f"objective {j}" for j in range(m)]
    quarantined = tuple((str(i), _why(row, names)) for i, row, good in zip(ids, array, kept) if not good)
    return Points(array[kept], [i for i, good in zip(ids, kept) if good], kept, quarantined)


def reference(ref_point: Any, m: int, directions: Sequence[str] | None = None) -> np.ndarray:
    """Check a reference point and orient it.

    Args:
        ref_point: [m] numbers in the objectives' own directions, or one number for all of them.
        m: number of objectives.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        [m] float64, larger is better.

    Raises:
        ShapeError: not m numbers.
        UsageError: NaN or infinite.
    """
    ref = numbers(ref_point)
    if ref.ndim == 0:
        ref = np.full(m, float(ref))
    if ref.shape != (m,):
        raise ShapeError(
            f"the reference point needs {m} numbers, one per objective; got shape {list(ref.shape)}"
        )
    if not np.isfinite(ref).all():
        raise UsageError(f"the reference point must be finite; got {ref.tolist()}")
    known = _objectives(None, directions)
    return ref if known is None else known.orient(ref)


def signs(directions: Sequence[str] | None, m: int) -> np.ndarray:
    """[m]: +1 for maximised objectives, -1 for minimised ones; turns oriented values into own directions and back."""
    known = _objectives(None, directions)
    return np.ones(m) if known is None else known.signs


def _read(values: Any, ids: Sequence[Any] | None, objectives: Any) -> tuple[np.ndarray, Any, Any]:
    if isinstance(values, np.ndarray):
        return numbers(values), None, ids
    if hasattr(values, "iloc") and hasattr(values, "columns"):
        columns = [str(c) for c in values.columns]
        if objectives is not None and all(isinstance(c, str) for c in values.columns):
            wanted = Objectives(objectives).names
            missing = [n for n in wanted if n not in columns]
            if missing:
                raise ObjectiveError(
                    f"the frame has no column {', '.join(map(repr, missing))}; its columns: {', '.join(columns)}"
                )
            values, columns = values[list(wanted)], list(wanted)
        return numbers(values), columns, list(values.index) if ids is None else ids
    return numbers(values), None, ids


def numbers(values: Any) -> np.ndarray:
    """float64 of anything array-like, refusing text, dates and complex numbers instead of converting them."""
    try:
        if hasattr(values, "detach"):  # a tensor; float64 first, since numpy has no bfloat16
            values = values.detach().cpu().double().numpy()
        elif hasattr(values, "iloc"):
            values = values.to_numpy(dtype=np.float64, na_value=np.nan)
        elif isinstance(values, np.ma.MaskedArray):
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.asarray(values)
        if array.dtype.kind not in "fiubO":
            raise TypeError(f"values of type {array.dtype}")
        with np.errstate(over="ignore"):
            return array.astype(np.float64, copy=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise ShapeError(f"expected a rectangular array of real numbers; got {error}") from error


def _objectives(objectives: Any, directions: Sequence[str] | None) -> Objectives | None:
    if objectives is not None:
        if directions is not None:
            raise UsageError("give `objectives` or `directions`, not both: objectives carry their directions")
        return objectives if isinstance(objectives, Objectives) else Objectives(objectives)
    if directions is None:
        return None
    if isinstance(directions, str):
        raise ShapeError(f"directions must be a list such as ['max', 'min']; got the string {directions!r}")
    return Objectives(Objective(f"objective {j}", d) for j, d in enumerate(directions))  # type: ignore[arg-type]


def _why(row: np.ndarray, names: Sequence[str]) -> str:
    kinds = {j: "nan" if np.isnan(x) else "inf" for j, x in enumerate(row) if not np.isfinite(x)}
    return ", ".join(f"{kind} in {names[j]}" for j, kind in kinds.items())
