"""Attainment surfaces: what a method reaches in a quarter, half, three quarters of its runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import moocore
import numpy as np

from pareto.errors import ShapeError, UsageError
from pareto.front.gate import admit, signs


def attainment_surfaces(
    fronts: Sequence[Any],
    levels: Sequence[float] = (0.25, 0.5, 0.75),
    directions: Sequence[str] | None = None,
) -> dict[float, np.ndarray]:
    """Surfaces that at least a given share of the runs attain; a run attains what some point of it weakly dominates.

    Args:
        fronts: one set of points [n_s, m] per run (seed), m = 2 or 3, in the objectives' own directions; a run without
            points attains nothing and still counts as a run.
        levels: shares in (0, 1]; a surface of level q is attained by at least ceil(q * runs) runs.
        directions: [m] "max" or "min"; default all "max".

    Returns:
        level -> [k, m] non-dominated corners of the surface, in the objectives' own directions, in lexicographic order;
        [0, m] where so many runs reach nothing in common.

    Raises:
        ShapeError: m not 2 or 3, or runs that differ in m.
        UsageError: no runs, or a level outside (0, 1].
    Source: Grunert da Fonseca, Fonseca and Hall (2001); algorithms of Fonseca, Guerreiro, López-Ibáñez and Paquete (2011)
        in moocore.
    """
    runs, turn, m = _runs(fronts, directions)
    bad = [q for q in levels if not 0 < q <= 1]
    if bad:
        raise UsageError(f"levels must lie in (0, 1]; got {bad}")
    reached = [r for r in runs if len(r)]
    owners = np.repeat(np.arange(len(reached)), [len(r) for r in reached])
    surfaces = {}
    for level in levels:
        needed = math.ceil(level * len(runs) - 1e-9)
        if needed > len(reached):
            surfaces[level] = np.empty((0, m))
            continue
        # a hair below the share, so that rounding never asks for one run more
        share = 100.0 * (needed - 0.5) / len(reached)
        corners = moocore.eaf(-np.concatenate(reached), owners, percentiles=[share])[:, :-1]
        surfaces[level] = np.unique(-corners, axis=0) * turn
    return surfaces


def attainment_difference(
    fronts: Sequence[Any], others: Sequence[Any], directions: Sequence[str] | None = None
) -> np.ndarray:
    """Where one method attains more often than another, two objectives.

    Args:
        fronts: one set of points [n_s, 2] per run of the first method; runs without points count.
        others: the same for the second method.
        directions: [2] "max" or "min"; default all "max".

    Returns:
        [k, 5]: rectangles (lower 0, lower 1, upper 0, upper 1, difference) in the objectives' own directions, where
        difference = share of the first method's runs that attain the rectangle - share of the second's, not 0. Rectangles
        may reach to infinity in the worse direction.

    Raises:
        ShapeError: m not 2.
        UsageError: no runs.
    Source: López-Ibáñez, Paquete and Stützle (2010), differences of empirical attainment functions.
    """
    first, turn, m = _runs(fronts, directions)
    second, _, m_other = _runs(others, directions)
    if m != 2 or m_other != 2:
        raise ShapeError(f"attainment differences need m = 2; got {m} and {m_other}")
    # On the grid of all coordinates attainment is constant in every half-open cell (below, up to and with, its corner).
    both = np.concatenate([*first, *second])
    x, y = np.unique(both[:, 0]), np.unique(both[:, 1])
    share = _attained(first, x, y) - _attained(second, x, y)
    left, low = np.r_[-np.inf, x[:-1]], np.r_[-np.inf, y[:-1]]
    rows = []
    for j in range(len(y)):
        for i, k, level in _stretches(share[:, j]):
            if level:
                rows.append([left[i], low[j], x[k], y[j], level])
    rectangles = np.array(rows).reshape(-1, 5)
    corners = rectangles[:, :4] * np.r_[turn, turn]
    return np.column_stack(
        [
            np.minimum(corners[:, :2], corners[:, 2:]),
            np.maximum(corners[:, :2], corners[:, 2:]),
            rectangles[:, 4],
        ]
    )


def _attained(runs: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[len(x), len(y)]: share of the runs that weakly dominate each grid point."""
    total = np.zeros((len(x), len(y)))
    for run in runs:
        hits = np.zeros((len(x), len(y)), dtype=bool)
        hits[np.searchsorted(x, run[:, 0]), np.searchsorted(y, run[:, 1])] = True
        total += np.logical_or.accumulate(np.logical_or.accumulate(hits[::-1, ::-1], 0), 1)[::-1, ::-1]
    return total / len(runs)


def _stretches(levels: np.ndarray) -> list[tuple[int, int, float]]:
    """(first, last, level) of the runs of equal neighbours."""
    cuts = np.flatnonzero(np.diff(levels)) + 1
    return [
        (int(a), int(b) - 1, float(levels[a]))
        for a, b in zip(np.r_[0, cuts], np.r_[cuts, len(levels)])
        if b > a
    ]


def _runs(
    fronts: Sequence[Any], directions: Sequence[str] | None
) -> tuple[list[np.ndarray], np.ndarray, int]:
    if not len(fronts):
        raise UsageError("attainment needs at least one run; got none")
    gates = [admit(front, directions=directions) for front in fronts]
    for gate in gates:
        gate.warn(stacklevel=4)
    sizes = {g.m for g in gates if len(g.kept)} or {gates[0].m}
    if len(sizes) > 1 or not sizes <= {2, 3}:
        raise ShapeError(f"attainment needs runs with m = 2 or m = 3 throughout; got m = {sorted(sizes)}")
    m = sizes.pop()
    return [g.values.reshape(-1, m) for g in gates], signs(directions, m), m
