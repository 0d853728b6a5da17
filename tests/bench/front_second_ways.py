"""Every hypervolume tool beside a slow and obvious second way: what bench_front_truth.py compares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

from pareto import front as tools
from tests.front import brute


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
