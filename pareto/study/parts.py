"""Several methods in one run folder: each brings a config of its own, and cells that methods share are made once.

A part is what one method planned. The folder's front is that of all parts together; each policy says whose it is, and each
part has its own indicators beside those of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pareto.cells import digest
from pareto.errors import ConfigError
from pareto.study.config import StudyConfig
from pareto.study.layout import RunFolder
from pareto.study.plan import Plan
from pareto.study.rows import Row
from pareto.study.store import Store

_FACT = "parts"
_RANK = ("prerequisite", "candidate", "policy")


@dataclass(frozen=True)
class Part:
    """What one method brought to a folder.

    Args:
        study: name of its study.
        settings: of the method.
        config_sha256: of its study.
        ref_point: as its config gives it, or None for the rule.
        weights_kind: "simplex" or "direction".
        roles: cell id -> role, in plan order.
        rounds: in which its weights were chosen, where that depended on results.
    """

    study: str
    settings: Mapping[str, Any]
    config_sha256: str
    ref_point: Mapping[str, float] | None
    weights_kind: str
    roles: Mapping[str, str]
    rounds: Sequence[Mapping[str, Any]] = ()


Parts = dict[str, Part]
"""Method -> its part, in the order in which they came."""


def read_parts(store: Store) -> Parts:
    """The parts of a folder."""
    return {name: Part(**part) for name, part in (store.get(_FACT) or {}).items()}


def note_part(store: Store, study: StudyConfig, plan: Plan) -> None:
    """Make a plan the part of its method, and the store's plan that of all parts together.

    The cells of other methods keep their place in the front, and wait for their own config where they are not done.
    """
    held = read_parts(store)
    held[study.method_name] = Part(
        study.study,
        study.to_json()["method"],
        study.sha256,
        study.score.ref_point,
        weights_kind(study),
        {cell.id: cell.role for cell, _ in plan.cells},
        plan.rounds_json,
    )
    store.plan(plan.cells, roles(part for name, part in held.items() if name != study.method_name))
    store.set(_FACT, {name: asdict(part) for name, part in held.items()})


def roles(parts: Any) -> dict[str, str]:
    """Cell id -> its role: what is wanted as a policy by one method is a policy."""
    found: dict[str, str] = {}
    for part in parts:
        for cell_id, role in part.roles.items():
            found[cell_id] = max(found.get(cell_id, role), role, key=_RANK.index)
    return found


def weights_kind(study: StudyConfig) -> str:
    """What the method's weights are."""
    return getattr(study.method, "weights_kind", "simplex")


def check_joins(store: Store, study: StudyConfig, run: RunFolder, first: str) -> None:
    """Refuse a method that cannot be measured beside those of the folder.

    Args:
        store: of the folder.
        study: the resolved config.
        run: the folder.
        first: the method that the folder was begun with.

    Raises:
        ConfigError: other reference points, weights of another kind, or a folder that is not ready for another method.
    """
    held = read_parts(store)
    others = {name: part for name, part in held.items() if name != study.method_name}
    if not others and study.method_name == first:
        return
    if first not in held:
        raise ConfigError(
            f"{run.root} holds {first}, whose plan was not noted; run its own config there once more, then add {study.method_name}"
        )
    point = study.score.ref_point
    for name, part in others.items():
        if part.ref_point != (None if point is None else dict(point)):
            raise ConfigError(
                f"{run.root} holds {name} with score.ref_point {part.ref_point}, {study.method_name} has {point}; methods of one "
                "folder are measured against one point: give both the same"
            )
        if part.weights_kind != weights_kind(study):
            raise ConfigError(
                f"{run.root} holds {name}, whose weights are of kind {part.weights_kind}; {study.method_name} takes "
                f"{weights_kind(study)}: choose another folder with --out, and compare them with `pareto report DIR DIR`"
            )
    if point is None and study.method_name not in held and store.get("ref_point") is None:
        raise ConfigError(
            f"the reference point of {run.root} is not fixed before {first} is done; finish that first, or give "
            "score.ref_point in both configs"
        )


def config_file(run: RunFolder, parts: Parts, method: str) -> Path:
    """Where the config of a method lies: config.yaml of the first, configs/<method>.yaml of the others."""
    return run.config if not parts or next(iter(parts)) == method else run.root / "configs" / f"{method}.yaml"


def in_order(parts: Parts, rows: Sequence[Row]) -> list[Row]:
    """The planned cells, one part after the other, whoever ran last."""
    known = {row.cell.id: row for row in rows}
    return [known[cell_id] for cell_id in roles(parts.values()) if cell_id in known]


def owners(parts: Parts, cell_id: str) -> str:
    """The methods whose policy a cell's is, joined by "+"."""
    return "+".join(name for name, part in parts.items() if part.roles.get(cell_id) == "policy")


def config_sha256(parts: Parts) -> str:
    """Digest of all that can change a result: the study's own, or that of all."""
    found = [part.config_sha256 for part in parts.values()]
    return found[0] if len(found) == 1 else digest(found)


def waiting(parts: Parts, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Cells of other methods than the one that ran, which are not done."""
    return [
        {"cell": row.cell.id, "why": f"not done: run the config of {whose} again"}
        for row in rows
        if row.foreign and row.status in ("pending", "running")
        for whose in [" or ".join(name for name, part in parts.items() if row.cell.id in part.roles)]
    ]
