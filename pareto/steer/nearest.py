"""The measured policy whose requested weights are nearest to the ones asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicyRecord, PolicySet


def nearest_record(run: PolicySet, weights: np.ndarray) -> PolicyRecord:
    """The record whose requested weights are nearest in Euclidean distance; of several, the first.

    Args:
        run: policies with requested weights; those without are passed over.
        weights: [m], checked.

    Raises:
        UsageError: no policy of the run has weights.
    """
    distance = np.linalg.norm(run.weights - weights, axis=1)
    if not np.isfinite(distance).any():
        raise UsageError(
            f"no policy of {run.folder} was made for weights; ask by values: at='{run.objectives.names[0]} >= ..., max ...'"
        )
    return run[int(np.nanargmin(distance))]


@STEERERS.register("nearest", source="definition: no mixing, one of the trained policies as it was measured")
def nearest(run: PolicySet, weights: np.ndarray, **options: Any) -> Any:
    """Serve the measured policy whose requested weights are nearest.

    Args:
        run: the policy set.
        weights: [m], checked.
        options: none are known.

    Raises:
        UsageError: an option is given, or no policy has weights.
    """
    if options:
        raise UsageError(f"steering method 'nearest' takes no options; got {', '.join(sorted(options))}")
    return run.policy(nearest_record(run, weights))
