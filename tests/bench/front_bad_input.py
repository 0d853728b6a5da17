"""The table of bad input of bench_front_truth.py: nothing may crash, hang, or lose a good point."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from typing import Any

import moocore
import numpy as np

from pareto import front as tools
from pareto.rng import generator


def with_row(points: np.ndarray, row: np.ndarray, at: int) -> np.ndarray:
    return np.insert(points, at, row, axis=0)


def bad_rows(m: int) -> dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]]:
    """Name of a bad input -> function of good points -> (bad input, which of its rows are the good ones)."""

    def spoiled(value: float, at: int) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        def spoil(good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            row = np.full(m, 0.5)
            row[at % m] = value
            place = min(at, len(good))
            return with_row(good, row, place), np.delete(np.arange(len(good) + 1), place)

        return spoil

    def more(
        extra: Callable[[np.ndarray], np.ndarray],
    ) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        return lambda good: (np.r_[good, extra(good)], np.arange(len(good)))

    return {
        "NaN row first": spoiled(np.nan, 0),
        "NaN row amid": spoiled(np.nan, 10),
        "NaN row last": spoiled(np.nan, 10**6),
        "+inf": spoiled(np.inf, 3),
        "-inf": spoiled(-np.inf, 4),
        "dominated point": more(lambda good: good[:1] * 0.5),
        "worse than the reference point in one": more(lambda good: np.r_[np.full(m - 1, 0.05), -1.0][None]),
    }


TOOLS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "hypervolume": lambda v, good: tools.hypervolume(v, 0.0),
    "hypervolume_contributions": lambda v, good: tools.hypervolume_contributions(v, 0.0),
    "hypervolume_estimate, approximate": lambda v, good: (
        tools.hypervolume_estimate(v, 0.0, budget_s=-1.0).value
    ),
    "non_dominated": lambda v, good: tools.non_dominated(v),
    "non_dominated_ranks": lambda v, good: tools.non_dominated_ranks(v),
    "igd": lambda v, good: tools.igd(v, reference_front=good),
    "igd_plus": lambda v, good: tools.igd_plus(v, reference_front=good),
    "epsilon_additive": lambda v, good: tools.epsilon_additive(v, reference_front=good),
    "r2": lambda v, good: tools.r2(v, reference_front=good),
    "expected_utility": lambda v, good: tools.expected_utility(v),
    "maximum_utility_loss": lambda v, good: tools.maximum_utility_loss(v, reference_front=good),
    "cardinality": lambda v, good: tools.cardinality(v),
    "sparsity": lambda v, good: tools.sparsity(v),
    "spacing": lambda v, good: tools.spacing(v),
}
PER_ROW = ("hypervolume_contributions", "non_dominated", "non_dominated_ranks")
ADDS = (
    "cardinality",
    "sparsity",
    "spacing",
    "igd",
    "r2",
    "epsilon_additive",
    "expected_utility",
    "maximum_utility_loss",
    "igd_plus",
)
"""Tools without a reference point: a point outside it is an ordinary point to them."""


class _TooLong(Exception):
    pass


def _stop(*_: object) -> None:
    raise _TooLong


def table() -> list[dict]:
    """Every cell of the table of bad input; a cell that hangs is stopped after ten seconds, one that crashes ends the program."""
    signal.signal(signal.SIGALRM, _stop)
    rows = []
    for m in (2, 3, 4, 5, 6, 9):
        good = generator("bad input", m).random((21 if m < 9 else 12, m)) + 0.1
        wanted = {name: np.asarray(call(good, good), dtype=float) for name, call in TOOLS.items()}
        for what, spoil in bad_rows(m).items():
            broken = []
            bad, kept = spoil(good)
            for name, call in TOOLS.items():
                if "worse than" in what and name in ADDS:
                    continue
                signal.alarm(10)
                try:
                    found = np.asarray(call(bad, good), dtype=float)
                except Exception as error:  # whatever goes wrong is the cell's outcome
                    broken.append(f"{name}: {type(error).__name__}")
                    continue
                finally:
                    signal.alarm(0)
                found = found[kept] if name in PER_ROW else found
                expected = wanted[name]
                if what == "dominated point" and name == "hypervolume_contributions":
                    # a dominated point lessens what is lost without the point before it: by definition, not by accident
                    expected = np.array(contributions_by_engine(bad))[kept]
                if not np.allclose(found, expected, rtol=1e-9, atol=1e-12, equal_nan=True):
                    broken.append(f"{name}: another figure")
            rows.append({"input": what, "m": m, "tools": len(TOOLS), "broken": broken})
        rows += others(m, good)
    for n in (20, 999, 1001, 30_000):  # a peer changes its algorithm at 1000, this suite at 20,000
        points = generator("mask", n).random((n, 4))
        dirty = with_row(points, np.array([np.nan, 1, 1, 1]), n // 2)
        same = np.array_equal(np.delete(tools.non_dominated(dirty), n // 2), tools.non_dominated(points))
        rows.append({"input": f"NaN row in a mask of {n} points", "m": 4, "tools": 1, "broken": [] if same else ["non_dominated: another figure"]})  # fmt: skip
    return rows


def contributions_by_engine(points: np.ndarray) -> list[float]:
    ref = np.zeros(points.shape[1])
    whole = moocore.hypervolume(points, ref=ref, maximise=True)
    return [
        whole - moocore.hypervolume(np.delete(points, i, axis=0), ref=ref, maximise=True)
        for i in range(len(points))
    ]


def others(m: int, good: np.ndarray) -> list[dict]:
    """Copies, everything outside, nothing at all."""
    doubled = np.r_[good, good]
    copies = [
        name
        for name, call in TOOLS.items()
        if name not in PER_ROW
        and not np.allclose(call(doubled, good), call(good, good), rtol=1e-9, atol=1e-12)
    ]
    copies += (
        ["hypervolume_contributions: not 0"] if tools.hypervolume_contributions(doubled, 0.0).any() else []
    )
    outside = [] if tools.hypervolume(good, 99.0) == 0 else ["hypervolume: not 0"]
    outside += ["contributions: not 0"] if tools.hypervolume_contributions(good, 99.0).any() else []
    empty = []
    for entry in tools.INDICATORS:
        figure = entry.value(np.zeros((0, m)), np.zeros(m), good)
        empty += [f"{entry.name}: {figure}"] if figure != entry.value.empty or math.isnan(figure) else []
    lost = []
    for value in (np.nan, np.inf):
        bad = with_row(good, np.full(m, value), 0)
        gate = tools.admit(bad, ids=[f"p{i}" for i in range(len(bad))])
        lost += (
            []
            if len(gate) == len(good) and [i for i, _ in gate.quarantined] == ["p0"]
            else ["admit: lost a row"]
        )
    return [
        {"input": "every point twice", "m": m, "tools": len(TOOLS), "broken": copies},
        {"input": "all points outside the reference point", "m": m, "tools": 2, "broken": outside},
        {"input": "empty set", "m": m, "tools": len(tools.INDICATORS.names()), "broken": empty},
        {"input": "what is set aside is named", "m": m, "tools": 1, "broken": lost},
    ]
