"""Which response each user preferred overall, whatever objectives the pairs are labelled under."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pareto.data.pairs import PreferencePairs
from pareto.errors import DataError


@dataclass(frozen=True)
class Decisions:
    """Pairs that somebody decided.

    Args:
        rows: [n] int64, pair index.
        chosen, rejected: [n] int64, response indices.
    """

    rows: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray


def decisions(pairs: PreferencePairs) -> Decisions:
    """The pairs with an overall winner: by the column `choice`, or by the only objective there is.

    Ties and unknown choices are left out.

    Raises:
        DataError: several objectives and no overall choice, or no pair with a winner.
    """
    choice = pairs.choice
    if choice is None:
        if len(pairs.objectives) > 1:
            raise DataError(
                f"the pairs say who wins under {', '.join(pairs.objectives.names)} but not which response was preferred "
                "overall; name that label (task.choice of a text task), or give the lab users (task.users)"
            )
        choice = pairs.labels[:, 0]
    rows = np.flatnonzero(np.nan_to_num(choice) != 0)
    if not len(rows):
        raise DataError(f"none of {len(pairs)} pairs has an overall winner")
    first = choice[rows] > 0
    a, b = pairs.a[rows], pairs.b[rows]
    return Decisions(rows, np.where(first, a, b), np.where(first, b, a))


def users_of(pairs: PreferencePairs, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who decided some pairs.

    Returns:
        codes [H] of the users, ascending, and [n] int64 in 0..H-1.

    Raises:
        DataError: the pairs do not say, or not all of them.
    """
    if pairs.user is None or (pairs.user[rows] < 0).any():
        missing = len(rows) if pairs.user is None else int((pairs.user[rows] < 0).sum())
        raise DataError(
            f"groups of users are found from what each user chose; {missing} of {len(rows)} decided pairs name no user: give "
            "every row a 'user' (on the lab: task.users and task.groups)"
        )
    return np.unique(pairs.user[rows], return_inverse=True)
