"""Which policies of a run are mixed for given weights, and with what shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from pareto.errors import SimplexError, UsageError
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet

MIXABLE = ("adapter", "model")
"""Kinds of stored policies of which sums have a meaning."""
Among = Literal["corners", "all"] | Sequence[str]
"""Which policies may be mixed: those made for one objective alone, every one made for weights, or these ids."""
SAME = 1e-9
"""Weights nearer than this are the same."""


@dataclass(frozen=True, eq=False)
class Members:
    """Policies that can be mixed: one kind, one reference, one study seed.

    Args:
        records: [K].
        points: [K, m] the weights they were made for.
        kind: "adapter" or "model".
        reference: folder of the reference model.
        folders: [K] of their files, checked against their digests.
    """

    records: tuple[PolicyRecord, ...]
    points: np.ndarray
    kind: str
    reference: Path
    folders: tuple[Path, ...]

    def shares(self, weights: np.ndarray, *, extrapolate: bool = False) -> np.ndarray:
        """[K] shares of the policies; see `barycentric`."""
        return barycentric(self.points, weights, extrapolate=extrapolate)


def members(run: PolicySet, among: Among = "corners", study_seed: int | None = None) -> Members:
    """The policies of a run that a mixture may be made of.

    Args:
        run: the policy set.
        among: "corners" (the policies made for one objective alone), "all" (every policy made for weights), or ids. Of
            several methods in one folder, those of the first that has what is asked for.
        study_seed: the seed whose policies are taken; None takes the first that has what is asked for.

    Raises:
        UsageError: a corner is missing, or the policies cannot be mixed exactly; says why.
        ArtifactError: files that are missing or changed.
    """
    chosen = chosen_records(run, among, study_seed)
    if (reason := why_not(run, chosen)) is not None:
        raise UsageError(f"{run.folder}: {reason}; use method 'nearest' for a policy as it was trained")
    from pareto.models.reference_folder import reference_folder

    return Members(
        chosen,
        np.array([run.objectives.vector(r.weights or {}) for r in chosen]),
        chosen[0].kind,
        reference_folder(run, chosen[0]),
        tuple(run.checked_folder(r) for r in chosen),
    )


def why_not(run: PolicySet, records: Sequence[PolicyRecord]) -> str | None:
    """Why policies have no exact mixture, or None where they have; reads settings and digests, no weights.

    Args:
        run: the policy set.
        records: at least one.
    """
    kinds = {r.kind for r in records}
    for record in records:
        if record.kind not in MIXABLE:
            return f"policy {record.id!r} is of kind {record.kind!r}, which has no exact mixture"
        if not record.files:
            return f"policy {record.id!r} has no files"
    if len(kinds) > 1:
        return f"the policies are of different kinds ({', '.join(sorted(kinds))}), which do not add up"
    if kinds == {"adapter"}:
        from pareto.models import lora_factors

        for record in records:
            reason = lora_factors.why_not(run.checked_folder(record))
            if reason is not None:
                return f"the adapter of policy {record.id!r} cannot be mixed exactly: {reason}"
    return _other_base(run, records)


def barycentric(points: np.ndarray, weights: np.ndarray, *, extrapolate: bool = False) -> np.ndarray:
    """Shares c with  sum_k c_k points_k = weights  and  sum_k c_k = 1.

    Weights that a policy was made for get that policy alone. Affinely independent points leave one answer. Among more
    points than that the shares minimise  sum_k c_k |points_k - weights|^2  with c >= 0: linear interpolation on the
    Delaunay triangulation, so that the nearest policies around the weights are the ones that are mixed.

    Args:
        points: [K, m] weights the policies were made for.
        weights: [m].
        extrapolate: negative shares are allowed, where there is one answer.

    Returns:
        [K] float64; exact zeros where a policy has no share.

    Raises:
        SimplexError: the points do not reach the weights.

    Source: Rajan (1994), Optimality of the Delaunay triangulation in R^d: the linear program whose solution it is.
    """
    distance = np.linalg.norm(points - weights, axis=1)
    if distance.min() <= SAME:
        return np.eye(len(points))[int(distance.argmin())]
    if np.array_equal(points @ points.T, np.eye(points.shape[1])[: len(points), : len(points)]):  # corners
        c = points @ weights
        if len(points) == points.shape[1] and (c.min() >= 0 or extrapolate):
            return c
    system = np.vstack([points.T, np.ones(len(points))])
    target = np.append(weights, 1.0)
    if np.linalg.matrix_rank(system) == len(points):
        c = np.linalg.lstsq(system, target, rcond=None)[0]
        reached = np.abs(system @ c - target).max() <= 1e-6
        c = np.where(np.abs(c) < 1e-12, 0.0, c)
    else:
        from scipy.optimize import linprog

        found = linprog(distance**2, A_eq=system, b_eq=target, bounds=(0, None), method="highs-ds")
        reached, c = found.status == 0, np.zeros(len(points)) if found.x is None else found.x
        c = np.where(c < 1e-12, 0.0, c)
    if not reached or (c.min() < 0 and not extrapolate):
        raise SimplexError(
            f"the policies' weights do not enclose {np.round(weights, 6).tolist()}; they are "
            f"{np.round(points, 6).tolist()}; extrapolation must be asked for (extrapolate=True among the corners)"
        )
    return c


def chosen_records(run: PolicySet, among: Among, study_seed: int | None = None) -> tuple[PolicyRecord, ...]:
    """The records that `members` means, whether or not they can be mixed.

    Raises:
        UsageError: directions, a corner that is missing, or a policy made for no weights.
    """
    if run.weights_kind != "simplex":
        raise UsageError(f"{run.folder} was made for directions, which are no shares of policies")
    if not isinstance(among, str):
        if not among:
            raise UsageError("give at least one policy id to mix")
        records = tuple(run[i] for i in among)
        for record in records:
            if record.weights is None:
                raise UsageError(f"policy {record.id!r} was made for no weights, so its share is unknown")
        return records
    if among not in ("corners", "all"):
        raise UsageError(f"policies to mix must be 'corners', 'all' or a list of ids; got {among!r}")
    groups: dict[tuple[str, int], list[PolicyRecord]] = {}
    for method in run.methods:
        for record in run.of_method(method):
            if record.weights is not None and study_seed in (None, record.seed):
                groups.setdefault((method, record.seed), []).append(record)
    for own in groups.values():
        corners = [_first_at(run, own, corner) for corner in np.eye(len(run.objectives))]
        if among == "all":
            return tuple(own)
        if all(corners):
            return tuple(r for r in corners if r is not None)
    have = ", ".join(sorted({r.id for own in groups.values() for r in own})) or "none"
    raise UsageError(
        f"{run.folder}: mixing {among} needs a policy made for each objective alone, of one seed; policies made for weights: "
        f"{have}; name those to mix, or use method 'nearest'"
    )


def _first_at(run: PolicySet, records: Sequence[PolicyRecord], point: np.ndarray) -> PolicyRecord | None:
    return next(
        (r for r in records if np.abs(run.objectives.vector(r.weights or {}) - point).max() <= SAME), None
    )


def _other_base(run: PolicySet, records: Sequence[PolicyRecord]) -> str | None:
    """A reason where policies stand on different reference models or read other tokens."""
    from pareto.models.reference_folder import reference_folder

    first, *rest = {reference_folder(run, r): r for r in records}.items()
    if not rest:
        return None
    from pareto.core.reference import model_sha256
    from pareto.models.fingerprint import tokenizer_fingerprint
    from pareto.models.tokenizers import load_tokenizer

    def digests(folder: Path) -> dict[str, str]:
        return {"model": model_sha256(folder), "tokenizer": tokenizer_fingerprint(load_tokenizer(folder))}

    own = digests(first[0])
    for folder, record in rest:
        for what, digest in digests(folder).items():
            if digest != own[what]:
                return f"policies {first[1].id!r} and {record.id!r} stand on another reference {what} each"
    return None
