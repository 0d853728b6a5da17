"""What no language model is needed for: predicting the winner of a pair by length, or by its words."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from pareto.data.preferences import Preferences
from pareto.data.texts import plain
from pareto.front import mean_interval
from pareto.tasks.text.scoring import complete, mean_per_unit, wins

BUCKETS = 4096
"""Words are hashed into so many features."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Quadratic penalties tried; the selection part chooses."""

_WORD = re.compile(r"\w+")


def baselines(parts: Mapping[Any, Preferences]) -> dict[str, dict[str, Any]]:
    """Held-out accuracy of two predictors that see the texts of a pair only, per objective.

    ``length``: the longer response wins, or the shorter one, whichever wins more training pairs. ``words``: logistic
    regression on the difference of the responses' log word counts (hashed), fitted on training pairs, its penalty
    chosen on selection pairs. Both are measured as policies are: mean over instructions of the share of pairs.

    Args:
        parts: "train", "selection" and "heldout" data with the same objectives.

    Returns:
        objective -> {"length": {"accuracy", "ci95"}, "words": the same, "longer_wins": share of training pairs}.
    """
    lengths = {part: np.array([len(plain(r)) for r in data.responses], float) for part, data in parts.items()}
    counts = {part: _word_counts(data) for part, data in parts.items()}
    found = {}
    for j, name in enumerate(parts["train"].objectives.names):
        winner = {part: _decided(data, j) for part, data in parts.items()}
        longer = wins(_gap(lengths["train"], winner["train"])).mean()
        sign = 1.0 if longer >= 0.5 else -1.0
        by_length = sign * _gap(lengths["heldout"], winner["heldout"])
        coefficients = _fit_words(counts, winner, parts)
        by_words = _gap(counts["heldout"], winner["heldout"]) @ coefficients
        found[name] = {
            "longer_wins": float(longer),
            "length": _accuracy(parts["heldout"], winner["heldout"], by_length),
            "words": _accuracy(parts["heldout"], winner["heldout"], by_words),
        }
    return found


Decided = tuple[np.ndarray, np.ndarray]
"""[k], [k] int64: winner and loser of each decided pair."""


def _decided(data: Preferences, j: int) -> Decided:
    label = np.nan_to_num(data.labels[:, j])
    rows = label != 0
    a, b, first = data.a[rows], data.b[rows], label[rows] > 0
    return np.where(first, a, b), np.where(first, b, a)


def _gap(of_response: Any, decided: Decided) -> Any:
    return of_response[decided[0]] - of_response[decided[1]]


def _accuracy(data: Preferences, decided: Decided, margin: np.ndarray) -> dict[str, Any]:
    per_unit = mean_per_unit(data.prompt_of[decided[0]], wins(margin), len(data.prompts))
    values = complete(per_unit[~np.isnan(per_unit)][:, None])
    low, high = mean_interval(values)
    interval = None if np.isnan(low[0]) else [float(low[0]), float(high[0])]
    return {"accuracy": float(values.mean()), "ci95": interval}


def _word_counts(data: Preferences) -> Any:
    """[n_responses, BUCKETS] sparse log(1 + count) of each response's words."""
    from scipy.sparse import csr_matrix

    rows, columns = [], []
    for i, response in enumerate(data.responses):
        words = _WORD.findall(plain(response).lower())
        rows += [i] * len(words)
        columns += [zlib.crc32(w.encode()) % BUCKETS for w in words]
    shape = (len(data.responses), BUCKETS)
    counts = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    return counts


def _fit_words(
    counts: Mapping[Any, Any], winner: Mapping[Any, Decided], parts: Mapping[Any, Preferences]
) -> np.ndarray:
    """[BUCKETS] coefficients with the penalty that orders selection pairs best."""
    from scipy.optimize import minimize

    x = _gap(counts["train"], winner["train"])
    held = _gap(counts["selection"], winner["selection"])
    start, best, best_accuracy = np.zeros(BUCKETS), np.zeros(BUCKETS), -1.0
    for strength in STRENGTHS[::-1]:

        def loss(w: np.ndarray, strength: float = strength) -> tuple[float, np.ndarray]:
            margin = x @ w
            value = np.logaddexp(0.0, -margin).mean() + 0.5 * strength * w @ w
            pull = -1.0 / (1.0 + np.exp(np.clip(margin, -500, 500)))
            return float(value), x.T @ pull / len(margin) + strength * w

        start = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
        accuracy = _accuracy(parts["selection"], winner["selection"], held @ start)["accuracy"]
        if accuracy > best_accuracy:
            best, best_accuracy = start, accuracy
    return best
