"""What serves weights when nobody says how."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.policy_set import STEERERS, PolicySet
from pareto.steer.nearest import nearest


@STEERERS.register("auto", source="this suite: a policy that was measured, before one that was not")
def auto(run: PolicySet, weights: np.ndarray, **options: Any) -> Any:
    """Serve the weights in the best way the run allows: the nearest measured policy.

    Args:
        run: the policy set.
        weights: [m], checked.
        options: passed on.
    """
    return nearest(run, weights, **options)
