"""The measured policy whose requested weights are nearest to the ones asked for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_record import PolicyRecord
from pareto.policy_set import LOADERS, STEERERS, PolicySet


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
        options: of the loader of its kind (device, dtype).

    Raises:
        UsageError: an unknown option is given, or no policy has weights.
    """
    return load_record(run, nearest_record(run, weights), "nearest", options)


def load_record(run: PolicySet, record: PolicyRecord, method: str, options: Mapping[str, Any]) -> Any:
    """A stored policy, with options that its kind's loader must know.

    Raises:
        UsageError: an option that the loader does not take.
    """
    known = inspect.signature(LOADERS.get(record.kind)).parameters
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"steering method {method!r} takes no option {unknown[0]!r}")
    return run.policy(record, **options)
