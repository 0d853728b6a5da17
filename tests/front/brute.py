"""Independent, slow, obvious versions of everything: what the suite's tools are held against."""

from __future__ import annotations

import itertools

import numpy as np


def dominates(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a >= b).all() and (a > b).any())


def non_dominated(points: np.ndarray) -> np.ndarray:
    return np.array([not any(dominates(q, p) for q in points) for p in points], dtype=bool)


def ranks(points: np.ndarray) -> np.ndarray:
    out, left, rank = np.full(len(points), -1), list(range(len(points))), 0
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        for i in front:
            out[i] = rank
        left = [i for i in left if i not in front]
        rank += 1
    return out


def by_inclusion_exclusion(points: np.ndarray, ref: np.ndarray) -> float:
    """Volume of a union of boxes: sum over subsets of (-1)^(k+1) times the volume they share. For n <= 12."""
    total = 0.0
    for k in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, k):
            total += (-1) ** (k + 1) * np.prod(np.maximum(np.min(chosen, axis=0) - ref, 0.0))
    return float(total)


def by_grid(points: np.ndarray, ref: np.ndarray) -> float:
    """Volume of a union of boxes: cut space along every coordinate and add up the cells that a point covers."""
    edges = [np.unique(np.r_[r, np.maximum(c, r)]) for c, r in zip(points.T, ref)]
    uppers = np.stack(np.meshgrid(*[e[1:] for e in edges], indexing="ij"), -1).reshape(-1, len(ref))
    lowers = np.stack(np.meshgrid(*[e[:-1] for e in edges], indexing="ij"), -1).reshape(-1, len(ref))
    covered = np.zeros(len(uppers), dtype=bool)
    for point in points:
        covered |= (uppers <= point).all(axis=1)
    return float(np.prod((uppers - lowers)[covered], axis=1).sum())


def random_points(rng: np.random.Generator, n: int, m: int, kind: str) -> np.ndarray:
    """Points of a shape that breaks careless code."""
    if kind == "sphere":
        v = np.abs(rng.normal(size=(n, m)))
        return v / np.linalg.norm(v, axis=1, keepdims=True)
    if kind == "ties":
        return rng.integers(0, 3, size=(n, m)).astype(float)
    if kind == "flat":  # one objective is the same for all
        v = rng.random((n, m))
        v[:, rng.integers(m)] = 0.5
        return v
    if kind == "copies":
        return rng.random((n, m))[rng.integers(0, max(1, n // 2), size=n)]
    if kind == "outside":
        return rng.normal(size=(n, m))
    return rng.random((n, m))


KINDS = ("cube", "sphere", "ties", "flat", "copies", "outside")
