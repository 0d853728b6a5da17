"""What an indicator is: the gate, then one pure function of clean points and what they are measured against."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from pareto.errors import NumericsError, UsageError
from pareto.front.gate import OutsideReferenceWarning, Points, admit, reference
from pareto.front.quadrature import Estimate
from pareto.registry import Registry

Utilities = Callable[[np.ndarray], np.ndarray]
"""k users: oriented points [n, m] -> [k, n], how much each user likes each point."""


@dataclass(frozen=True)
class Yardstick:
    """What points may be measured against; all oriented, larger is better.

    Args:
        ref_point: [m], or None.
        reference_front: [k, m] finite, k >= 1, or None.
        utilities: users to please; None: all linear utilities, weights uniform on the simplex.
    """

    ref_point: np.ndarray | None = None
    reference_front: np.ndarray | None = None
    utilities: Utilities | None = None


Measure = Callable[[np.ndarray, Yardstick], "float | Estimate"]
"""A figure of clean, oriented points [n, m], n >= 1."""


def _free(points: np.ndarray, yardstick: Yardstick) -> float:
    return 0.0


def _anywhere(points: np.ndarray, yardstick: Yardstick) -> str:
    return ""


@final
class Indicator:
    """One named figure of a set of points, callable on raw input; made by the decorator `indicator`.

    Args:
        name: what it is called in tables and files.
        measure: the figure; an Estimate where it is not exact.
        better: whether a "higher" or a "lower" figure is a better set; "neither" where no order holds.
        empty: the figure of the empty set.
        needs: which parts of the yardstick it cannot do without.
        domain: what is wrong with these points, "" when the figure is defined on them.
        cost_s: seconds that `measure` is expected to take, by order of magnitude.
        approximate: a figure with its error for when that is too long, or None.
    """

    def __init__(
        self,
        name: str,
        measure: Measure,
        better: Literal["higher", "lower", "neither"],
        empty: float,
        needs: tuple[str, ...] = (),
        domain: Callable[[np.ndarray, Yardstick], str] = _anywhere,
        cost_s: Callable[[np.ndarray, Yardstick], float] = _free,
        approximate: Callable[[np.ndarray, Yardstick], Estimate] | None = None,
    ) -> None:
        self.name = name
        self.measure = measure
        self.better = better
        self.empty = empty
        self.needs = needs
        self.domain = domain
        self.cost_s = cost_s
        self.approximate = approximate
        self.__doc__ = measure.__doc__
        self.__module__ = measure.__module__

    def __call__(
        self,
        values: Any,
        ref_point: Any = None,
        reference_front: Any = None,
        utilities: Any = None,
        directions: Sequence[str] | None = None,
    ) -> float:
        """Measure raw points.

        Args:
            values: [n, m] in the objectives' own directions; numpy, pandas, torch or lists. Rows with NaN or infinity
                are set aside with a `QuarantineWarning`.
            ref_point: [m] or one number, in the objectives' own directions.
            reference_front: [k, m], in the objectives' own directions.
            utilities: weights [k, m] of k linear users, or a function of oriented points [n, m] -> [k, n].
            directions: [m] "max" or "min"; default all "max".

        Returns:
            The figure; `empty` for the empty set.

        Raises:
            ShapeError: wrong shapes.
            UsageError: something the indicator needs is missing or not finite.
            NumericsError: the figure overflows float64.
        """
        points, yardstick = survey(values, ref_point, reference_front, utilities, directions)
        points.warn()
        for need in self.needs:
            if getattr(yardstick, need) is None:
                raise UsageError(f"{self.name} needs `{need}`; none was given")
        if "ref_point" in self.needs:
            warn_outside(points, yardstick.ref_point)
        if len(points) == 0:
            return self.empty
        wrong = self.domain(points.values, yardstick)
        if wrong:
            raise UsageError(f"{self.name} is not defined here: {wrong}")
        return finite(float(self.measure(points.values, yardstick)), self.name)

    def applies(self, points: np.ndarray, yardstick: Yardstick) -> bool:
        """Whether everything it needs is there and it is defined on these points."""
        if any(getattr(yardstick, need) is None for need in self.needs):
            return False
        return len(points) == 0 or not self.domain(points, yardstick)

    def __repr__(self) -> str:
        return f"<indicator {self.name}>"


INDICATORS: Registry[Indicator] = Registry("indicator", "pareto.front")


def indicator(
    *,
    source: str,
    better: Literal["higher", "lower", "neither"],
    empty: float,
    needs: tuple[str, ...] = (),
    domain: Callable[[np.ndarray, Yardstick], str] = _anywhere,
    cost_s: Callable[[np.ndarray, Yardstick], float] = _free,
    approximate: Callable[[np.ndarray, Yardstick], Estimate] | None = None,
) -> Callable[[Measure], Indicator]:
    """Decorator: put the gate in front of a pure function and file it under the function's name; see `Indicator`."""

    def file(measure: Measure) -> Indicator:
        name = getattr(measure, "__name__", "")
        made = Indicator(name, measure, better, empty, needs, domain, cost_s, approximate)
        return INDICATORS.register(name, source=source)(made)

    return file


def survey(
    values: Any,
    ref_point: Any = None,
    reference_front: Any = None,
    utilities: Any = None,
    directions: Sequence[str] | None = None,
) -> tuple[Points, Yardstick]:
    """Admit points and everything they are measured against, in one orientation."""
    if ref_point is None and reference_front is None and utilities is None:
        return admit(values, directions=directions), Yardstick()
    points = admit(values, directions=directions)
    m = points.m
    ref = front = None
    if ref_point is not None:
        if len(points.kept) == 0 and np.ndim(ref_point) == 1:
            m = len(ref_point)  # a list without points does not know how many columns it has
        ref = reference(ref_point, m, directions)
    if reference_front is not None:
        truth = admit(reference_front, directions=directions)
        truth.warn()
        if len(truth) == 0 or (len(points.kept) and truth.m != m):
            raise UsageError(
                f"the reference front needs at least one finite point with {m} columns; "
                f"got {len(truth)} finite points with {truth.m}"
            )
        front = truth.values
    return points, Yardstick(ref, front, as_utilities(utilities))


def as_utilities(utilities: Any) -> Utilities | None:
    """None, a function, or weights [k, m] of k linear users, as one function."""
    if utilities is None:
        return None
    if callable(utilities):
        return lambda points: np.asarray(utilities(points), dtype=np.float64)
    weights = admit(utilities)
    if weights.quarantined:
        raise UsageError(f"utility weights must be finite; got {weights.quarantined[0][1]}")
    return lambda points: weights.values @ points.T


def warn_outside(points: Points, ref_point: np.ndarray | None, stacklevel: int = 3) -> None:
    """Warn with `OutsideReferenceWarning` when points do not beat the reference point."""
    if ref_point is not None and len(points):
        outside = points.outside(ref_point)
        if outside:
            warnings.warn(
                f"{outside} of {len(points)} points are not better than the reference point "
                "in every objective; they contribute nothing",
                OutsideReferenceWarning,
                stacklevel=stacklevel,
            )


def finite(figure: float, name: str) -> float:
    """The figure itself.

    Raises:
        NumericsError: it is not finite, though every input was.
    """
    if not math.isfinite(figure):
        raise NumericsError(f"{name} overflows float64; divide the values by their scale first")
    return figure
