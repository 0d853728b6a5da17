"""Optimistic linear support: the next weights are where a better policy could gain most."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection

from pareto.objectives import Objectives
from pareto.study.config import WeightsConfig
from pareto.study.weights import WEIGHTS
from pareto.study.weights.search import Known, Proposal, Search, need_size, untried

NORMAL_975 = 1.959963984540054
"""Quantile of the normal distribution: the certificate allows for this many standard errors of every policy's utility."""
DIGITS = 4
"""Weights are rounded to so many digits: the same corner found again is the same cell, on any machine."""


@WEIGHTS.register("linear_support", source="Roijers (2016), optimistic linear support, Alg. 7")
class LinearSupport(Search):
    """Choose corners of the known policies' upper surface, the one with the largest possible gain first.

    A policy trained for weights w_k has utility w_k . f_k + t_k there, with t_k = -beta KL for policies kept near a
    reference and 0 otherwise. Two bounds follow at any w, both convex in w:

        V(w) = max_k w . f_k + t_k                                        reached already
        U(w) = max { w . v + t : w_k . v + t <= w_k . f_k + t_k for all k }   out of reach for any policy

    The gap U - V is largest at a corner of V. Several weights at once: a chosen corner counts as run, with a value vector
    half-way between the bounds. The certificate is the largest gap when every w_k . f_k is raised by 1.96 of its
    standard errors: no weights are left at which a policy could be better by more, as far as every policy is the best
    one for its own weights. `epsilon` stops the sweep once the certificate is that small.

    Source: Roijers (2016), Alg. 7 (OLS). Differences: the utility may hold a KL penalty, which keeps both bounds convex;
    the bound allows for measurement noise; weights are rounded to 4 digits; several weights at once.
    """

    def check(self, objectives: Objectives, config: WeightsConfig) -> None:
        """Ask for a size."""
        need_size(objectives, config)

    def propose(self, known: Known, config: WeightsConfig, k: int) -> Proposal:
        """Take the k corners with the largest gaps."""
        lines = np.column_stack([known.values, known.offsets])
        at = np.column_stack([known.weights, np.ones(len(known.weights))])
        reached = np.einsum("nj,nj->n", at, lines)
        slack = NORMAL_975 * np.sqrt((known.weights**2 * known.variances).sum(axis=1))
        certificate = _largest_gap(lines, at, reached + slack)
        chosen, gaps = np.zeros((0, known.weights.shape[1])), []
        if config.epsilon is not None and certificate <= config.epsilon:
            k = 0
        for _ in range(k):
            corners = _corners(lines)
            bounds = [_bound(w, at, reached) for w in corners]
            gap = np.array([u - (lines @ [*w, 1.0]).max() for w, (u, _) in zip(corners, bounds)])
            rounded = _rounded(corners)
            fresh = [i for i, w in enumerate(rounded) if len(untried(w[None], known.tried)) and gap[i] > 0]
            fresh = [i for i in fresh if len(untried(rounded[i][None], chosen))]
            if not fresh:
                break
            best = max(fresh, key=lambda i: gap[i])
            chosen = np.vstack([chosen, rounded[best]])
            gaps.append(float(gap[best]))
            bound, vector = bounds[best]
            w = np.append(corners[best], 1.0)
            nearest = lines[(lines @ w).argmax()]
            lines = np.vstack([lines, 0.5 * (nearest + vector)])
            at = np.vstack([at, w])
            reached = np.append(reached, bound - 0.5 * gap[best])
        return Proposal(chosen, {"certificate": certificate, "gaps": gaps})


def _rounded(weights: np.ndarray) -> np.ndarray:
    """[n, m] on the simplex, with few digits."""
    rows = np.clip(weights, 0.0, None).round(DIGITS)
    return rows / rows.sum(axis=1, keepdims=True)


def _corners(lines: np.ndarray) -> np.ndarray:
    """[c, m] the weights at which the upper surface V of utility lines [n, m + 1] (values, offset) has its corners."""
    m = lines.shape[1] - 1
    shift = lines.min()
    scale = max(float(np.ptp(lines)), 1e-300)
    values = (lines[:, :m] - shift) / scale
    offsets = lines[:, m] / scale
    # in coordinates (w_1 .. w_{m-1}, u): u above every line, weights on the simplex, u below a lid that cuts the cone off
    last = values[:, -1:]
    above = np.column_stack([values[:, :-1] - last, -np.ones(len(lines)), last[:, 0] + offsets])
    inside = np.column_stack([-np.eye(m - 1), np.zeros(m - 1), np.zeros(m - 1)])
    total = np.array([[*np.ones(m - 1), 0.0, -1.0]])
    top = float((values.max(axis=1) + offsets).max()) + 2.0
    lid = np.array([[*np.zeros(m - 1), 1.0, -top]])
    interior = np.append(np.full(m - 1, 1.0 / m), top - 0.5)
    found = HalfspaceIntersection(np.vstack([above, inside, total, lid]), interior).intersections
    found = found[found[:, -1] < top - 1e-6]
    weights = np.column_stack([found[:, :-1], 1.0 - found[:, :-1].sum(axis=1)])
    weights = np.clip(weights, 0.0, 1.0)
    _, first = np.unique(weights.round(9), axis=0, return_index=True)
    return weights[np.sort(first)]


def _bound(w: np.ndarray, at: np.ndarray, reached: np.ndarray) -> tuple[float, np.ndarray]:
    """U(w) and the (value vector, offset) [m + 1] that would reach it."""
    solved = linprog(-np.append(w, 1.0), A_ub=at, b_ub=reached, bounds=[(None, None)] * at.shape[1])
    return -float(solved.fun), np.asarray(solved.x)


def _largest_gap(lines: np.ndarray, at: np.ndarray, reached: np.ndarray) -> float:
    """The largest U(w) - V(w) over the simplex."""
    gaps = [_bound(w, at, reached)[0] - (lines @ [*w, 1.0]).max() for w in _corners(lines)]
    return max(0.0, *map(float, gaps))
