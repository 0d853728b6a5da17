"""The end of a sweep: the reference point, the exact front, front.json and the manifest."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np

from pareto.cells import digest
from pareto.state import atomic, manifest
from pareto.study import front_json
from pareto.study.committed import all_recorded
from pareto.study.config import StudyConfig
from pareto.study.controller import Controller
from pareto.study.layout import UNLISTED, RunFolder
from pareto.study.parts import Part, config_sha256, in_order, owners, read_parts, waiting
from pareto.study.rows import Row
from pareto.study.scores import plain, read_scores
from pareto.study.seal import seal
from pareto.study.store import Store

_PACKAGES = ("numpy", "moocore", "torch", "transformers", "peft", "gymnasium")
FRONT_SHA256 = "front_sha256"
"""The fact under which the store keeps the digest of front.json."""


def write_front(study: StudyConfig, run: RunFolder, store: Store, controller: Controller) -> dict[str, Any]:
    """Write front.json and front.csv, and last the manifest that says the run is complete."""
    task: Any = study.task
    objectives = task.objectives
    parts = read_parts(store)
    rows = in_order(parts, store.rows())
    policies = scored_policies(run, rows)
    point, rule = freeze_ref_point(study, store, policies)
    records, quarantined = front_json.policy_records(policies, objectives, point)
    failed = [*front_json.failed_block(rows, store.blocked()), *waiting(parts, rows)]
    config = config_sha256(parts)

    def exact(name: str, own: list[dict[str, Any]]) -> dict[str, Any] | None:
        if not own or point is None:
            return None
        found, failure = _exact(name, config, store, controller, own, point)
        failed.extend([failure] if failure else [])
        return found

    def apart(name: str, part: Part) -> dict[str, Any]:
        """What is said of one method of several."""
        own = [policy for policy in policies if part.roles.get(policy.cell.id) == "policy"]
        return {
            "study": part.study,
            "indicators": front_json.indicator_block(own, objectives, point),
            **({"rounds": part.rounds} if part.rounds else {}),
            "exact": exact(f"exact {name}", front_json.policy_records(own, objectives, point)[0]),
            "cost": front_json.cost_block([row for row in rows if row.cell.id in part.roles]),
        }

    first = next(iter(parts.values()))
    whole = exact("exact", records)
    if len(parts) == 1:
        told: dict[str, Any] = {"rounds": first.rounds} if first.rounds else {}
    else:
        told = {"methods": {name: apart(name, part) for name, part in parts.items()}}
        whose = {policy.policy["id"]: owners(parts, policy.cell.id) for policy in policies}
        records = [{**record, "method": whose[record["id"]]} for record in records]
    front: dict[str, Any] = {
        "format": front_json.FORMAT,
        "study": first.study,
        "task": study.task_kind,
        "method": "+".join(parts),
        "context": plain(getattr(task, "context", None)),
        "objectives": objectives.to_json(),
        "ref_point": plain(point),
        "ref_point_rule": rule,
        "policies": records,
        "indicators": front_json.indicator_block(policies, objectives, point),
        **told,
        "exact": whole,
        "quarantined": quarantined,
        "failed": failed,
        "cost": front_json.cost_block(rows),
        "provenance": {
            "config_sha256": config,
            "versions": _versions(),
            "platform": platform.platform(),
            "created": store.get("created"),
        },
    }
    front["provenance"]["content_sha256"] = front_json.content_sha256(front)
    atomic.write_json(run.front, front)
    atomic.write_text(run.table, front_json.front_csv(front))
    store.set(FRONT_SHA256, manifest.sha256(run.front))
    seal(store)
    manifest.write(run.root, UNLISTED, all_recorded(store))
    return front


def scored_policies(run: RunFolder, rows: Iterable[Row], role: str = "policy") -> list[front_json.Scored]:
    """The finished policies of the plan with their scores, in plan order.

    Args:
        run: the run folder.
        rows: what the store knows.
        role: of the cells: "policy", or "candidate" for those that only a decision rested on.

    Raises:
        ArtifactError: a score file is missing, broken or changed.
    """
    homes = {row.cell.id: row.result["home"] for row in rows if row.result}
    return [
        front_json.Scored(
            cell=row.cell,
            policy=policy,
            scores=read_scores(run.scores(policy["id"]), policy["scores_sha256"]),
            needs={name: homes[cell_id] for name, cell_id in row.cell.needs.items()},
        )
        for row in rows
        if row.status == "done" and row.result and row.cell.role == role
        for policy in row.result["policies"]
    ]


def freeze_ref_point(
    study: StudyConfig, store: Store, policies: list[front_json.Scored]
) -> tuple[np.ndarray | None, str]:
    """The reference point in the objectives' own directions, and the rule that fixed it.

    A point by rule is frozen as soon as no cell of the plan can still change it: with the first round where weights are
    chosen in rounds, else when all policies are there.
    """
    task: Any = study.task
    if study.score.ref_point is not None:
        return task.objectives.vector(study.score.ref_point), "given"
    frozen = store.get("ref_point")
    if frozen is None:
        point = front_json.corner_reference(policies, task.objectives)
        if point is None:
            return None, "corners-10%"
        frozen = point.tolist()
        if all(row.status == "done" for row in store.rows() if row.cell.role == "policy"):
            store.set("ref_point", frozen)
    return np.array(frozen, dtype=np.float64), "corners-10%"


def _exact(
    name: str,
    config: str,
    store: Store,
    controller: Controller,
    records: list[dict[str, Any]],
    point: np.ndarray,
) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    """The exact block, worked out once for the same policies, and what went wrong with it.

    Args:
        name: of the fact that keeps it.
        config: digest of the study.
        store: keeps it.
        controller: has it worked out.
        records: of the policies.
        point: reference point.
    """
    key = digest({"study": config, "policies": records, "ref_point": point.tolist()})
    known = store.get(name)
    if known is None or known["key"] != key:
        found = controller.exact(records, point.tolist())
        if "failure" in found:
            why = f"{found['failure']['type']}: {found['failure']['message']}"
            return None, {"cell": name, "why": why}
        known = {"key": key, "exact": found["exact"]}
        store.set(name, known)
    return known["exact"], None


def _versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "pareto-align": importlib.import_module("pareto").__version__,
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
