"""The measured policy that is worth most under the weights, whatever it was made for."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.front import chebyshev_utilities, linear_utilities
from pareto.policy_record import PolicyRecord
from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import load_record

UTILITIES = ("linear", "chebyshev")


def assigned_record(run: PolicySet, weights: np.ndarray, utility: str = "linear") -> PolicyRecord:
    """The policy of largest utility; of several, the first.

    Linear: w.v. Chebyshev: min_j w_j (v_j - ideal_j) / range_j, which reaches policies inside dents of the front. Values are
    those that choices may rest on (the selection split's) where the run holds them.

    Args:
        run: the policy set.
        weights: [m], on the simplex.
        utility: "linear" or "chebyshev".

    Raises:
        UsageError: an unknown utility.
    """
    if utility not in UTILITIES:
        raise UsageError(f"utility must be {' or '.join(UTILITIES)}; got {utility!r}")
    rows = [(record.facts.get("selection") or {}).get("values") or record.values for record in run]
    values = run.objectives.orient(np.array([run.objectives.vector(row) for row in rows]))
    if utility == "chebyshev":
        spans = np.ptp(values, axis=0)
        values = (values - values.max(axis=0)) / np.where(spans > 0, spans, 1.0)
        worth = chebyshev_utilities(weights, np.zeros(len(weights)), rho=1e-6)(values)
    else:
        worth = linear_utilities(weights)(values)
    return run[int(np.argmax(worth[0]))]


@STEERERS.register(
    "assigned", source="Liu et al. (2025), C-MORL, policy assignment: the policy with the largest w.G"
)
def assigned(run: PolicySet, weights: np.ndarray, *, utility: str = "linear", **options: Any) -> Any:
    """Serve the measured policy that is worth most under the weights.

    Args:
        run: the policy set.
        weights: [m], checked.
        utility: "linear" or "chebyshev".
        options: of the loader of its kind.

    Raises:
        UsageError: an unknown utility or option.
    """
    return load_record(run, assigned_record(run, weights, utility), "assigned", options)
