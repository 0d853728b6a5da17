"""Every hypervolume tool against an independent second way, and the table of bad input. Program: python tests/bench/bench_front_truth.py

1,008 random fronts for each tool (112 for each m = 1..9, or spread over the m for which it is defined): cubes, spheres, ties,
one flat objective, copies, points outside the reference point. The second ways are slow and obvious: sums over subsets,
loops, enumeration, quadrature by another algorithm, the dual of a linear program. Then every cell of the table of bad input:
nothing may crash, hang, or lose a good point. Writes reports/front/truth.json and truth.md; exits 1 where one does not agree.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the slow versions of the tests

from pareto import front as tools  # noqa: E402
from pareto.rng import generator  # noqa: E402
from pareto.simplex import sample  # noqa: E402
from tests.front import brute  # noqa: E402

OUT = ROOT / "reports" / "front"
FRONTS = 1008
TOLERANCE = 1e-9
Case = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""points [n, m], reference front [k, m], reference point [m], weights of users [5, m]"""


def cases(what: str, objectives: tuple[int, ...]) -> Iterator[Case]:
    """Fronts of every shape, spread evenly over the numbers of objectives."""
    each = -(-FRONTS // len(objectives))
    for m in objectives:
        rng = generator("truth", what, m)
        for i in range(each):
            points = brute.random_points(rng, int(rng.integers(1, 8)), m, brute.KINDS[i % len(brute.KINDS)])
            front = brute.random_points(
                rng, int(rng.integers(1, 7)), m, brute.KINDS[(i // 6) % len(brute.KINDS)]
            )
            users = sample(m, 5, rng) if m > 1 else np.ones((5, 1))
            yield points, front, np.full(m, rng.choice([-0.5, 0.0, 0.25])), users


def unique_front(points: np.ndarray) -> np.ndarray:
    return np.unique(points[brute.non_dominated(points)], axis=0)


def contributions(points: np.ndarray, ref: np.ndarray) -> list[float]:
    whole = brute.by_inclusion_exclusion(points, ref)
    return [
        whole - brute.by_inclusion_exclusion(np.delete(points, i, axis=0), ref) for i in range(len(points))
    ]


def distances(points: np.ndarray, front: np.ndarray, plus: bool) -> float:
    total = 0.0
    for r in front:
        gaps = [[max(x - y, 0.0) if plus else x - y for x, y in zip(r, p)] for p in points]
        total += min(math.sqrt(sum(g * g for g in gap)) for gap in gaps)
    return total / len(front)


def epsilon(points: np.ndarray, front: np.ndarray, turn: Callable[[float, float], float]) -> float:
    return max(min(max(turn(x, y) for x, y in zip(r, p)) for p in points) for r in front)


def spacing(points: np.ndarray) -> float:
    front = unique_front(points)
    if len(front) < 3:
        return 0.0
    nearest = [
        min(sum(abs(x - y) for x, y in zip(p, q)) for j, q in enumerate(front) if i != j)
        for i, p in enumerate(front)
    ]
    mean = sum(nearest) / len(nearest)
    return math.sqrt(sum((d - mean) ** 2 for d in nearest) / (len(nearest) - 1))


def sparsity(points: np.ndarray) -> float:
    front = unique_front(points)
    gaps = sum((b - a) ** 2 for column in front.T for a, b in itertools.pairwise(sorted(column)))
    return gaps / max(1, len(front) - 1)


def expected_utility(points: np.ndarray) -> float:
    """m <= 3: cut the simplex into the regions where one point is best, by qhull, and add up what is linear on each."""
    m, front = points.shape[1], np.unique(points, axis=0)
    if m == 1:
        return float(front.max())
    if m == 2:
        cuts = {0.0, 1.0}
        for a, b in itertools.combinations(front, 2):
            slope = (a - b)[0] - (a - b)[1]
            if slope:
                cuts.add(min(1.0, max(0.0, float(-(a - b)[1] / slope))))
        return sum(max((lo + hi) / 2 * p[0] + (1 - (lo + hi) / 2) * p[1] for p in front) * (hi - lo) for lo, hi in itertools.pairwise(sorted(cuts)))  # fmt: skip
    total = 0.0
    for i, p in enumerate(front):
        # u, v, and 1 - u - v are the weights: at least 0, and p worth at least as much as every other point
        rows = [[-1, 0, 0], [0, -1, 0], [1, 1, -1]]
        for q in np.delete(front, i, axis=0):
            d = q - p
            rows.append([d[0] - d[2], d[1] - d[2], d[2]])
        halves = np.array(rows, dtype=float)
        norms = np.linalg.norm(halves[:, :2], axis=1)
        if (halves[norms == 0, 2] > 0).any():
            continue
        halves, norms = halves[norms > 0], norms[norms > 0]
        centre = linprog(
            [0, 0, -1], np.c_[halves[:, :2], norms], -halves[:, 2], bounds=[(None, None)] * 2 + [(0, None)]
        )
        if centre.status != 0 or centre.x[2] < 1e-9:
            continue
        corners = HalfspaceIntersection(halves, centre.x[:2]).intersections
        corners = corners[np.argsort(np.arctan2(*(corners - centre.x[:2]).T[::-1]))]
        worth = np.c_[corners, 1 - corners.sum(axis=1)] @ p
        middle, at_middle = corners.mean(axis=0), float(worth.mean())
        for a, b, wa, wb in zip(corners, np.roll(corners, -1, axis=0), worth, np.roll(worth, -1)):
            u, v = a - middle, b - middle
            total += abs(u[0] * v[1] - u[1] * v[0]) * (wa + wb + at_middle) / 3
    return float(total)


def utility_loss(points: np.ndarray, front: np.ndarray) -> float:
    """The dual: how far a mixture of the points must stay below some point of the front in the objective where it fails least."""
    n, m = points.shape
    worst = -np.inf
    for r in front:
        # minimise t with t >= r_j - sum_k l_k p_kj, l on the simplex
        left = np.c_[-points.T, -np.ones(m)]
        found = linprog(
            [*np.zeros(n), 1.0],
            left,
            -r,
            [[*np.ones(n), 0.0]],
            [1.0],
            bounds=[(0, None)] * n + [(None, None)],
        )
        worst = max(worst, found.fun)
    return worst


def mixtures(points: np.ndarray, ref: np.ndarray) -> float:
    """m <= 2: the area between the reference point and the upper hull of the points and of what they dominate."""
    if points.shape[1] == 1:
        return max(0.0, float(points.max() - ref[0]))
    xs = sorted({float(ref[0]), *(float(x) for x in points[:, 0] if x > ref[0])})

    def height(
        x: float,
    ) -> float:  # of the hull above the reference: the best chord over x, or the best point to the right
        heights = [p[1] for p in points if p[0] >= x]
        for a, b in itertools.permutations(points, 2):
            if a[0] < x < b[0]:
                heights.append(a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0]))
        return float(max(heights)) - float(ref[1])

    area = 0.0
    for a, b in itertools.pairwise(xs):
        # between two neighbouring abscissae the hull is linear; only what is above the reference counts
        inner, outer = height(a + (b - a) / 3), height(b - (b - a) / 3)
        left, right = 2 * inner - outer, 2 * outer - inner
        high, low = max(left, right), min(left, right)
        if high > 0:
            area += (b - a) * ((left + right) / 2 if low >= 0 else high * high / (high - low) / 2)
    return area


def greedy(points: np.ndarray, ref: np.ndarray) -> float:
    chosen: list[int] = []
    for _ in range(min(3, len(points))):
        worth = {
            i: brute.by_inclusion_exclusion(points[[*chosen, i]], ref)
            for i in range(len(points))
            if i not in chosen
        }
        chosen.append(max(worth, key=lambda i: worth[i]))
    return brute.by_inclusion_exclusion(points[chosen], ref)


def prices(points: np.ndarray) -> list[float]:
    best = brute.non_dominated(points)
    front = points[best]
    spread = np.where(np.ptp(front, axis=0) > 0, np.ptp(front, axis=0), 1.0)
    found = []
    for x, on_front in zip(points, best):
        if not on_front:
            found.append(np.nan)
            continue
        ratios = [
            sum(np.maximum(x - y, 0) / spread) / sum(np.maximum(y - x, 0) / spread)
            for y in front
            if (y > x).any()
        ]
        found.append(min(ratios, default=np.inf))
    return found


def three_runs(points: np.ndarray, front: np.ndarray) -> list[np.ndarray]:
    """Small sets that stand for three runs of a method."""
    return [points[:3], front[:3], (points[::-1][:3] + front[:1]) / 2]


def median_surface(points: np.ndarray, front: np.ndarray, ref: np.ndarray) -> float:
    """Volume that at least two of three runs attain: the pairs' common volumes less twice what all three share."""
    a, b, c = three_runs(points, front)

    def common(*runs: np.ndarray) -> float:
        return brute.by_grid(np.array([np.min(picked, axis=0) for picked in itertools.product(*runs)]), ref)

    return common(a, b) + common(a, c) + common(b, c) - 2 * common(a, b, c)


def difference(points: np.ndarray, front: np.ndarray, ref: np.ndarray) -> float:
    """The area under a difference of attainment functions, above the reference point."""
    first, second, third = three_runs(points, front)
    found = tools.attainment_difference([first, second], [third])
    low, high = np.maximum(found[:, :2], ref), np.maximum(found[:, 2:4], ref)
    return float((np.prod(high - low, axis=1) * found[:, 4]).sum())


def mean_difference(points: np.ndarray, front: np.ndarray, ref: np.ndarray) -> float:
    """The same: the mean volume of two runs less that of the third."""
    first, second, third = (brute.by_inclusion_exclusion(run, ref) for run in three_runs(points, front))
    return (first + second) / 2 - third


def chebyshev(points: np.ndarray, front: np.ndarray, users: np.ndarray) -> float:
    ideal = front.max(axis=0)
    return sum(-max(min(w * (v - z) for w, v, z in zip(u, p, ideal)) for p in points) for u in users) / len(
        users
    )


def r2(points: np.ndarray, front: np.ndarray, _: np.ndarray, users: np.ndarray) -> float:
    aim = front.max(axis=0)
    return tools.r2(points, reference_front=front, utilities=tools.chebyshev_utilities(users, aim))


ALL, UP_TO_3, PLANE = tuple(range(1, 10)), (1, 2, 3), (1, 2)
CHECKS: dict[str, tuple[str, tuple[int, ...], Callable[..., Any], Callable[..., Any]]] = {
    "hypervolume": ("sum over subsets", ALL, lambda p, f, r, u: tools.hypervolume(p, r), lambda p, f, r, u: brute.by_inclusion_exclusion(p, r)),
    "hypervolume_contributions": ("leave one out, sums over subsets", ALL, lambda p, f, r, u: tools.hypervolume_contributions(p, r), lambda p, f, r, u: contributions(p, r)),
    "relative_hypervolume": ("sums over subsets", ALL, lambda p, f, r, u: tools.relative_hypervolume(p, r, np.abs(f) + 1), lambda p, f, r, u: brute.by_inclusion_exclusion(p, r) / brute.by_inclusion_exclusion(np.abs(f) + 1, r)),
    "hypervolume_subset": ("plain greedy choice", ALL, lambda p, f, r, u: brute.by_inclusion_exclusion(p[tools.hypervolume_subset(p, r, 3)], r), lambda p, f, r, u: greedy(p, r)),
    "hypervolume_with_mixtures": ("area below chords", PLANE, lambda p, f, r, u: tools.hypervolume_with_mixtures(p, r), lambda p, f, r, u: mixtures(p, r)),
    "igd": ("loops", ALL, lambda p, f, r, u: tools.igd(p, reference_front=f), lambda p, f, r, u: distances(p, f, False)),
    "igd_plus": ("loops", ALL, lambda p, f, r, u: tools.igd_plus(p, reference_front=f), lambda p, f, r, u: distances(p, f, True)),
    "epsilon_additive": ("loops", ALL, lambda p, f, r, u: tools.epsilon_additive(p, reference_front=f), lambda p, f, r, u: epsilon(p, f, lambda x, y: x - y)),
    "epsilon_multiplicative": ("loops", ALL, lambda p, f, r, u: tools.epsilon_multiplicative(np.exp(p), reference_front=np.exp(f)), lambda p, f, r, u: epsilon(np.exp(p), np.exp(f), lambda x, y: x / y)),
    "r2, given users": ("loops", ALL, r2, lambda p, f, r, u: chebyshev(p, f, u)),
    "expected_utility, given users": ("loops", ALL, lambda p, f, r, u: tools.expected_utility(p, utilities=u), lambda p, f, r, u: sum(max(sum(w * p_) for p_ in p) for w in u) / len(u)),
    "expected_utility, all linear users": ("regions of weights by qhull", UP_TO_3, lambda p, f, r, u: tools.expected_utility(p), lambda p, f, r, u: expected_utility(p)),
    "maximum_utility_loss, given users": ("loops", ALL, lambda p, f, r, u: tools.maximum_utility_loss(p, reference_front=f, utilities=u), lambda p, f, r, u: max(max(sum(w * x) for x in f) - max(sum(w * x) for x in p) for w in u)),
    "maximum_utility_loss, all linear users": ("dual linear program", ALL, lambda p, f, r, u: tools.maximum_utility_loss(p, reference_front=f), lambda p, f, r, u: utility_loss(p, f)),
    "cardinality": ("loops", ALL, lambda p, f, r, u: tools.cardinality(p), lambda p, f, r, u: len(unique_front(p))),
    "sparsity": ("loops", ALL, lambda p, f, r, u: tools.sparsity(p), lambda p, f, r, u: sparsity(p)),
    "spacing": ("loops", ALL, lambda p, f, r, u: tools.spacing(p), lambda p, f, r, u: spacing(p)),
    "non_dominated": ("loops", ALL, lambda p, f, r, u: tools.non_dominated(p), lambda p, f, r, u: brute.non_dominated(p)),
    "non_dominated_ranks": ("loops", ALL, lambda p, f, r, u: tools.non_dominated_ranks(p), lambda p, f, r, u: brute.ranks(p)),
    "attainment_surfaces, median of three": ("common volumes, cell by cell", (2, 3), lambda p, f, r, u: tools.hypervolume(tools.attainment_surfaces(three_runs(p, f), [0.5])[0.5], r), lambda p, f, r, u: median_surface(p, f, r)),
    "attainment_difference": ("difference of mean volumes", (2,), lambda p, f, r, u: difference(p, f, r), lambda p, f, r, u: mean_difference(p, f, r)),
    "knee_prices": ("loops", ALL, lambda p, f, r, u: tools.knee_prices(p), lambda p, f, r, u: prices(p)),
}  # fmt: skip


def check(name: str) -> dict:
    """The largest relative difference between a tool and its second way."""
    way, objectives, ours, theirs = CHECKS[name]
    worst, count, started = 0.0, 0, time.process_time()
    for case in cases(name, objectives):
        found, expected = (np.asarray(call(*case), dtype=float) for call in (ours, theirs))
        assert found.shape == expected.shape, name
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            # relative to the figure, or to the scale of the points where the figure itself is a difference near 0
            scale = np.maximum(np.abs(expected), 1e-2)
            apart = np.where(same, 0.0, np.abs(found - expected) / scale)
        worst, count = max(worst, float(np.max(apart, initial=0.0))), count + 1
    row = {"tool": name, "second_way": way, "m": f"{objectives[0]}-{objectives[-1]}", "fronts": count, "largest_relative_difference": worst, "agrees": bool(worst <= TOLERANCE)}  # fmt: skip
    print(f"{name}: {count} fronts, {worst:.1e} ({time.process_time() - started:.1f} s)", flush=True)
    return row


def estimates() -> list[dict]:
    """Figures that state an error: how often the truth, to within its own error, lies inside it."""
    rows = []
    for m in (4, 5, 6, 8):
        rng, inside = generator("truth of estimates", m), 0
        for i in range(24):
            points = brute.random_points(rng, 12, m, brute.KINDS[i % len(brute.KINDS)])
            estimate = tools.expected_utility_estimate(points)
            best = (sample(m, 200_000, rng) @ points.T).max(axis=1)
            spare = 3 * best.std() / math.sqrt(len(best))
            inside += abs(estimate.value - best.mean()) <= estimate.error + spare
        rows.append({"tool": "expected_utility_estimate", "against": "200,000 random weights", "m": m, "fronts": 24, "inside": int(inside)})  # fmt: skip
        inside = 0
        for i in range(24):
            points = brute.random_points(rng, 12, m, ("sphere", "cube")[i % 2])
            estimate = tools.hypervolume_estimate(points, 0.0, budget_s=-1.0)
            inside += abs(estimate.value - tools.hypervolume(points, 0.0)) <= estimate.error
        rows.append({"tool": "hypervolume_estimate", "against": "the exact volume", "m": m, "fronts": 24, "inside": int(inside)})  # fmt: skip
        print(rows[-2], rows[-1], flush=True)
    return rows


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


def markdown(document: dict) -> str:
    cells = document["bad_input"]
    broken = [f"{c['input']}, m = {c['m']}: {'; '.join(c['broken'])}" for c in cells if c["broken"]]
    lines = [
        "# Are the hypervolume tools right?",
        "",
        "Made by `python tests/bench/bench_front_truth.py`. " + ", ".join(f"{k}: {v}" for k, v in document["machine"].items()) + ".",
        "",
        f"Random fronts of every shape (cubes, spheres, ties, one flat objective, copies, points outside). Asked: {TOLERANCE:g} relative "
        "(figures that are differences near 0: relative to 0.01).",
        "",
        "| tool | second way | m | fronts | largest relative difference | agrees |",
        "|---|---|---|---|---|---|",
        *(f"| {r['tool']} | {r['second_way']} | {r['m']} | {r['fronts']} | {r['largest_relative_difference']:.1e} | {'yes' if r['agrees'] else 'NO'} |" for r in document["exact"]),
        "",
        "Figures that state an error (95 %), and how often the truth lies within it:",
        "",
        "| tool | against | m | fronts | inside |",
        "|---|---|---|---|---|",
        *(f"| {r['tool']} | {r['against']} | {r['m']} | {r['fronts']} | {r['inside']} |" for r in document["estimates"]),
        "",
        "## Bad input",
        "",
        f"{len(cells)} cells (input x m), {sum(c['tools'] for c in cells)} calls: every tool must give the good points the figures that they have without the bad row, "
        "without crash, hang (10 s), or loss.",
        "",
        *([f"- {line}" for line in broken] or ["No cell is broken."]),
        "",
        "| input | m | calls | broken |",
        "|---|---|---|---|",
    ]  # fmt: skip
    for what in dict.fromkeys(c["input"] for c in cells):
        of = [c for c in cells if c["input"] == what]
        lines.append(f"| {what} | {', '.join(str(c['m']) for c in of)} | {sum(c['tools'] for c in of)} | {sum(len(c['broken']) for c in of)} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(CHECKS), metavar="TOOL", help="measure these again, keep the rest"
    )
    only = parser.parse_args().only
    warnings.simplefilter("ignore", tools.QuarantineWarning)
    warnings.simplefilter("ignore", tools.OutsideReferenceWarning)
    before = json.loads((OUT / "truth.json").read_text()) if only else {"exact": []}
    rows = {row["tool"]: row for row in before["exact"]} | {name: check(name) for name in only or CHECKS}
    document = {
        "format": 1,
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "numpy": np.__version__, "moocore": moocore.__version__},
        "exact": [rows[name] for name in CHECKS if name in rows],
        "estimates": before["estimates"] if only else estimates(),
        "bad_input": before["bad_input"] if only else table(),
    }  # fmt: skip
    (OUT / "truth.json").write_text(json.dumps(document, indent=1) + "\n")
    (OUT / "truth.md").write_text(markdown(document))
    wrong = [r["tool"] for r in document["exact"] if not r["agrees"]]
    wrong += [f"{c['input']}, m = {c['m']}" for c in document["bad_input"] if c["broken"]]
    if wrong:
        sys.exit(f"not as it should be: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
