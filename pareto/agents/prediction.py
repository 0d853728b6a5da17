"""PGMORL's model of improvement: how far a policy's returns will move under given weights, from what was seen nearby."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

MOST_GAIN = 500.0
"""Bound of the curve's height and offset, from memory of the official code."""


@dataclass(frozen=True)
class Moves:
    """What training did to policies in one generation each.

    Args:
        weights: [n, m] it strove for.
        before: [n, m] returns at its start.
        after: [n, m] returns at its end.
    """

    weights: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def none(cls, m: int) -> Moves:
        """Nothing seen."""
        return cls(*(np.zeros((0, m)) for _ in range(3)))

    def joined(self, other: Moves) -> Moves:
        """Both, in order; moves to or from unknown returns are left out."""
        parts = [np.concatenate(p) for p in zip(self.arrays, other.arrays)]
        sound = np.isfinite(np.concatenate(parts, axis=1)).all(axis=1)
        return Moves(*(part[sound] for part in parts))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights, before, after."""
        return self.weights, self.before, self.after

    def near(self, point: np.ndarray, spans: np.ndarray, enough: int = 4) -> tuple[np.ndarray, np.ndarray]:
        """(rows, [k] importance) of the moves that began near a point, the neighbourhood doubled until it has `enough`.

        The neighbourhood is 0.1 of the spans, importance a Gaussian of 0.03 of them, from memory of the official code, which
        divides by the returns themselves: that breaks for returns around zero.
        """
        far = np.abs((self.before - point) / spans)
        reach = 0.1
        while (far.max(axis=1) < reach).sum() < min(enough, len(far)):
            reach *= 2
        rows = np.flatnonzero(far.max(axis=1) < reach)
        distance = np.linalg.norm(far[rows], axis=1)
        return rows, np.exp(-0.5 * (distance / (0.3 * reach)) ** 2)


def curve(weight: np.ndarray, height: float, steepness: float, middle: float, offset: float) -> np.ndarray:
    """A (exp(a (w - b)) - 1) / (exp(a (w - b)) + 1) + c = A tanh(a (w - b) / 2) + c: the improvement of one return."""
    return height * np.tanh(0.5 * steepness * (weight - middle)) + offset


def fit_curve(
    weight: np.ndarray, gain: np.ndarray, importance: np.ndarray, f_scale: float
) -> tuple[float, ...]:
    """(A, a, b, c) of the curve through (weight, gain), by robust least squares.

    Args:
        weight: [k] of the objective.
        gain: [k] how far its return moved.
        importance: [k] of each.
        f_scale: gains beyond it count as outliers.
    """
    height = float(np.clip(np.ptp(gain), 1.0, MOST_GAIN)) if len(gain) else 1.0

    def errors(p: np.ndarray) -> np.ndarray:
        return (curve(weight, *p) - gain) * importance

    low, high = (0.0, 0.1, -5.0, -MOST_GAIN), (height, 20.0, 5.0, MOST_GAIN)
    start = np.clip([height / 2, 1.0, 0.5, float(np.mean(gain))], low, high)
    found = least_squares(errors, start, loss="soft_l1", f_scale=f_scale, bounds=(low, high), max_nfev=60)
    return tuple(float(x) for x in found.x)


def predict(
    moves: Moves, point: np.ndarray, weights: np.ndarray, spans: np.ndarray, f_scale: float
) -> np.ndarray:
    """Returns expected after one more generation.

    Args:
        moves: what was seen.
        point: [m] present returns of a policy.
        weights: [k, m] it might strive for.
        spans: [m] > 0 range of each objective.
        f_scale: as for `fit_curve`, in spans: returns are divided by them.

    Returns:
        [k, m].

    Source: Xu et al. (2020), PGMORL, section 4.3: each return is a hyperbolic function of its own weight.
    """
    rows, importance = moves.near(point, spans)
    gains = (moves.after[rows] - moves.before[rows]) / spans
    expected = np.empty((len(weights), len(point)))
    for j in range(len(point)):
        fitted = fit_curve(moves.weights[rows, j], gains[:, j], importance, f_scale)
        expected[:, j] = point[j] + spans[j] * curve(weights[:, j], *fitted)
    return expected
