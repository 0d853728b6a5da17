"""front.json: a pure function of what the store and the score files hold. The hub that every other command reads."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pareto import front as tools
from pareto.cells import Cell, Cost, digest
from pareto.errors import ArtifactError
from pareto.objectives import Objectives
from pareto.study.rows import Row
from pareto.study.scores import ScoreFile, plain

FORMAT = 1
_VOLATILE_COST = ("wall_s", "peak_rss_mb", "peak_gpu_mb", "wasted_tokens", "wasted_steps")
_VOLATILE_PROVENANCE = ("created", "platform", "versions", "content_sha256")
_FACTS = ("kl_nats", "kl_to_exact_nats", "optimality", "text", "groups")
"""Facts that every policy record names, null where the task has none."""


@dataclass(frozen=True)
class Scored:
    """A policy that the store holds, with its scores.

    Args:
        cell: the cell that made it.
        policy: the policy's part of the cell's result.
        scores: its score file.
        needs: name -> folder relative to the run folder, of what its cell needed.
    """

    cell: Cell
    policy: Mapping[str, Any]
    scores: ScoreFile
    needs: Mapping[str, str]

    def why_quarantined(self, objectives: Objectives) -> str | None:
        """What is not finite in the scores ("nan in helpful: 3 of 512 heldout units, first p17"), or None."""
        for split, values, ids in (
            ("heldout", self.scores.heldout, self.scores.heldout_ids),
            ("selection", self.scores.selection, self.scores.selection_ids),
        ):
            bad = ~np.isfinite(values)
            if bad.any():
                j = int(bad.any(axis=0).argmax())
                rows = np.flatnonzero(bad[:, j])
                what = "nan" if np.isnan(values[rows, j]).any() else "infinity"
                return (
                    f"{what} in {objectives.names[j]}: {len(rows)} of {len(values)} {split} units, "
                    f"first {ids[rows[0]]}"
                )
        return None


def policy_records(
    policies: Sequence[Scored], objectives: Objectives, ref_point: np.ndarray | None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Write the policies' records, in plan order.

    Args:
        policies: scored policies, in plan order.
        objectives: m of them.
        ref_point: [m] in the objectives' own directions, or None where none is fixed; contributions are then null.

    Returns:
        (records of the policies whose scores are finite, records of those quarantined).
    """
    reasons = [(p, p.why_quarantined(objectives)) for p in policies]
    clean = [p for p, why in reasons if why is None]
    quarantined = [{"id": str(p.policy["id"]), "why": why} for p, why in reasons if why is not None]
    if not clean:
        return [], quarantined
    values = np.array([p.scores.heldout.mean(axis=0) for p in clean])
    oriented = objectives.orient(values)
    best = tools.non_dominated(oriented)
    shares: Sequence[float | None] = [None] * len(clean)
    if ref_point is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tools.OutsideReferenceWarning)  # counted in the indicators
            shares = tools.hypervolume_contributions(oriented, objectives.orient(ref_point)).tolist()
    return [
        _record(p, objectives, v, bool(b), share) for p, v, b, share in zip(clean, values, best, shares)
    ], quarantined


def _record(
    scored: Scored, objectives: Objectives, values: np.ndarray, best: bool, share: float | None
) -> dict[str, Any]:
    policy, scores = scored.policy, scored.scores
    low, high = tools.mean_interval(scores.heldout)
    facts = {**policy["extra"], **scores.facts.get("selection", {}), **scores.facts.get("heldout", {})}
    record = {
        "id": policy["id"],
        "seed": scored.cell.seed,
        "weights": policy["weights"] and objectives.named(objectives.vector(policy["weights"])),
        "weights_kind": policy["weights_kind"],
        "values": objectives.named(values),
        "ci95": {
            n: None if np.isnan(a) else [float(a), float(b)] for n, a, b in zip(objectives.names, low, high)
        },
        "n": len(scores.heldout),
        "split": "heldout",
        "selection": {"values": objectives.named(scores.selection.mean(axis=0)), "n": len(scores.selection)},
        "non_dominated": best,
        "hypervolume_contribution": share,
        **dict.fromkeys(_FACTS),
        "kind": policy["kind"],
        "files": policy["files"],
        "needs": dict(scored.needs),
    }
    taken = sorted(set(facts) & (set(record) - set(_FACTS)))
    if taken:
        raise ArtifactError(
            f"facts of policy {policy['id']} must not use the names {', '.join(taken)}; rename them in the task or method"
        )
    return plain({**record, **facts})


def corner_policies(policies: Sequence[Scored], objectives: Objectives) -> list[Scored]:
    """The policies that fix the reference point: per objective those with the largest weight on it.

    Where a policy carries no weights there are no corners to name, and all policies count.
    """
    named = [p.policy["weights"] for p in policies]
    if not named or any(w is None for w in named):
        return list(policies)
    weights = np.array([objectives.vector(w) for w in named])
    chosen = (weights >= weights.max(axis=0) - 1e-9).any(axis=1)
    return [p for p, keep in zip(policies, chosen) if keep]


def corner_reference(policies: Sequence[Scored], objectives: Objectives) -> np.ndarray | None:
    """[m] reference point by the corner rule, in the objectives' own directions; None without a finite corner.

    It looks at selection values only, so that held-out values are measured against a point they had no part in.
    """
    corners = [p for p in corner_policies(policies, objectives) if p.why_quarantined(objectives) is None]
    if not corners:
        return None
    values = np.array([p.scores.selection.mean(axis=0) for p in corners])
    return tools.nadir_reference(values, directions=[o.direction for o in objectives])


def indicator_block(
    policies: Sequence[Scored], objectives: Objectives, ref_point: np.ndarray | None
) -> dict[str, Any]:
    """The indicators of the finite policies' held-out values, with the hypervolume's interval and its selection twin.

    Args:
        policies: scored policies, in plan order; quarantined ones are left out.
        objectives: m of them.
        ref_point: [m] in the objectives' own directions, or None.
    """
    clean = [p for p in policies if p.why_quarantined(objectives) is None]
    names: dict[str, Any] = {"hypervolume": None, "hypervolume_ci95": None, "hypervolume_selection": None}
    if not clean:
        return {**names, "cardinality": 0, "outside_ref_point": 0}
    values = objectives.orient([p.scores.heldout.mean(axis=0) for p in clean])
    selection = objectives.orient([p.scores.selection.mean(axis=0) for p in clean])
    reference = None if ref_point is None else objectives.orient(ref_point)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tools.OutsideReferenceWarning)  # counted below
        figures: dict[str, Any] = dict(tools.indicators(values, reference))
        if reference is not None:
            names["hypervolume_selection"] = tools.hypervolume(selection, reference)
            names["hypervolume_ci95"] = _hypervolume_interval(clean, objectives, reference)
    for count in ("cardinality", "outside_ref_point", "n", "quarantined"):
        if count in figures:
            figures[count] = int(figures[count])
    del figures["n"], figures["quarantined"]  # said elsewhere in the file
    return plain({**names, **figures})


def _hypervolume_interval(
    clean: Sequence[Scored], objectives: Objectives, reference: np.ndarray
) -> list[float] | None:
    """Interval by paired resampling of units; None where policies were not scored on the same units, or on one only."""
    ids = clean[0].scores.heldout_ids
    if len(ids) < 2 or not all(np.array_equal(p.scores.heldout_ids, ids) for p in clean):
        return None
    interval = tools.hypervolume_interval(objectives.orient([p.scores.heldout for p in clean]), reference)
    return [interval.low, interval.high]


def cost_block(rows: Sequence[Row]) -> dict[str, Any]:
    """The true cost of all cells, work lost to kills included."""
    total = Cost()
    for row in rows:
        spent = Cost(**row.result["cost"]) if row.result else Cost()
        lost = Cost(wasted_tokens=row.wasted_tokens, wasted_steps=row.wasted_steps, wall_s=row.lost_s)
        total = total + spent + lost
    return asdict(total)


def failed_block(rows: Sequence[Row], blocked: Mapping[str, str]) -> list[dict[str, str]]:
    """The cells that have no result, in plan order: what went wrong, or which failed cell they wait for."""
    found = []
    for row in rows:
        if row.status == "failed":
            failure = row.failure or {}
            found.append(
                {
                    "cell": row.cell.id,
                    "why": f"{failure.get('type', 'Error')}: {failure.get('message', 'unknown')}",
                }
            )
        elif row.cell.id in blocked:
            found.append({"cell": row.cell.id, "why": f"it needs cell {blocked[row.cell.id]}, which failed"})
    return found


def content_sha256(front: Mapping[str, Any]) -> str:
    """sha256 of everything in front.json but times, peaks, wasted work, dates, platform and versions."""
    cost = _lasting(front["cost"])
    provenance = {k: v for k, v in front["provenance"].items() if k not in _VOLATILE_PROVENANCE}
    whole = {**front, "cost": cost, "provenance": provenance}
    if "methods" in front:
        whole["methods"] = {n: {**own, "cost": _lasting(own["cost"])} for n, own in front["methods"].items()}
    return digest(whole)


def _lasting(cost: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in cost.items() if k not in _VOLATILE_COST}


def front_csv(front: Mapping[str, Any]) -> str:
    """The policies as a table: id, seed, kind, weights, values, intervals, and the scalar figures of each.

    Where several methods made them, the method stands in the last column.
    """
    names = [o["name"] for o in front["objectives"]]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    scalars = (
        *("n", "non_dominated", "hypervolume_contribution", "kl_nats", "kl_to_exact_nats", "optimality"),
        "optimality_heldout",
    )
    columns = [f"{prefix}{n}" for prefix in ("weight_", "", "low_", "high_") for n in names]
    scalars = (*scalars, "method") if "methods" in front else scalars
    writer.writerow(["id", "seed", "kind", *columns, *scalars])
    for policy in front["policies"]:
        weights = policy["weights"] or {}
        ends = [policy["ci95"][n] or [None, None] for n in names]
        writer.writerow(
            [policy["id"], policy["seed"], policy["kind"]]
            + [weights.get(n) for n in names]
            + [policy["values"][n] for n in names]
            + [low for low, _ in ends]
            + [high for _, high in ends]
            + [policy.get(name) for name in scalars]
        )
    return buffer.getvalue()
