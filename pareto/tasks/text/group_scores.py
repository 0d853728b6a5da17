"""How well a policy orders what each group of users chose, where the data or the policy say who belongs where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pareto.data.choices import decisions
from pareto.data.pairs import PreferencePairs
from pareto.errors import DataError
from pareto.front import mean_interval
from pareto.tasks.text.scoring import mean_per_unit, wins

FOUND = "user_groups.json"
"""In a policy's folder: the groups of users that its method found."""


def group_figures(
    pairs: PreferencePairs, ratio: np.ndarray, policy: Path
) -> dict[str, dict[str, Any]] | None:
    """Accuracy of a policy's implicit rewards on the choices of each group.

    Groups are those that the policy's method found, or else those that the data name. Users count alike; where the data name
    none, prompts do.

    Args:
        pairs: labelled pairs of one part.
        ratio: [n_responses] nats, log(pi / pi_ref).
        policy: its folder.

    Returns:
        group -> accuracy with its 95 % interval (low, high), users or prompts, pairs; None where nobody is grouped.
    """
    try:
        made = decisions(pairs)
    except DataError:
        return None
    group = _groups(pairs, made.rows, policy)
    if group is None:
        return None
    unit = pairs.table.prompt_of[made.chosen] if pairs.user is None else pairs.user[made.rows]
    right = wins(ratio[made.chosen] - ratio[made.rejected])
    found = {}
    for g in np.unique(group[group >= 0]):
        mine = group == g
        _, code = np.unique(unit[mine], return_inverse=True)
        each = mean_per_unit(code, right[mine], int(code.max()) + 1)
        low, high = mean_interval(each[:, None])
        found[f"group {g}"] = {
            "accuracy": float(each.mean()),
            "low": None if np.isnan(low[0]) else float(low[0]),
            "high": None if np.isnan(high[0]) else float(high[0]),
            "units": len(each),
            "pairs": int(mine.sum()),
        }
    return found or None


def _groups(pairs: PreferencePairs, rows: np.ndarray, policy: Path) -> np.ndarray | None:
    """[k] int64 group of every decided pair, -1 where unknown; None where no pair has one."""
    if pairs.user is not None and (policy / FOUND).exists():
        of_user = json.loads((policy / FOUND).read_text(encoding="utf-8"))["group_of_user"]
        return np.array([of_user.get(str(u), -1) for u in pairs.user[rows].tolist()], dtype=np.int64)
    return None if pairs.group is None else pairs.group[rows]
