"""One policy of a set: what front.json says about it, and what it may say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pareto.cells import WeightsKind
from pareto.errors import ArtifactError, ObjectiveError
from pareto.objectives import Objectives
from pareto.state import manifest, tensor_file

POLICY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class PolicyRecord:
    """One measured policy of a run: a row of `policies` in front.json.

    Args:
        id: also the name of its folder under `policies/`.
        kind: "adapter", "heads", ...; selects the loader.
        values: objective -> measured value, in the objective's own direction and unit.
        weights: objective -> number it was made for, or None.
        weights_kind: "simplex" or "direction".
        seed: study seed.
        files: relative path in its folder -> sha256.
        facts: everything else the row says (ci95, kl_nats, optimality, text, ...).
    """

    id: str
    kind: str
    values: Mapping[str, float]
    weights: Mapping[str, float] | None = None
    weights_kind: WeightsKind = "simplex"
    seed: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


_FIELDS = ("id", "kind", "values", "weights", "weights_kind", "seed", "files")


def policy_record(row: Mapping[str, Any], objectives: Objectives) -> PolicyRecord:
    """The record of a row of front.json.

    Raises:
        ArtifactError: unsafely named, pickled, or of the wrong shape.
        ObjectiveError: a value or weight is missing or not finite.
    """
    name = row["id"]
    if not isinstance(name, str) or not POLICY_ID.fullmatch(name):
        raise ArtifactError(f"a policy id must match {POLICY_ID.pattern}; got {name!r:.120}")
    if not isinstance(row["kind"], str) or not row["kind"].isidentifier():
        raise ArtifactError(f"the kind of policy {name!r} must be a plain name; got {row['kind']!r:.120}")
    if not all(isinstance(part, str) for pair in (row.get("files") or {}).items() for part in pair):
        raise ArtifactError(
            f"files of policy {name!r} must map each path to a sha256; got {row['files']!r:.120}"
        )
    if not isinstance(row.get("needs") or {}, dict):
        raise ArtifactError(f"needs of policy {name!r} must map names to folders; got {row['needs']!r:.120}")
    for path in row.get("files") or {}:
        if not manifest.is_safe(path):
            raise ArtifactError(f"a file of policy {name!r} must stay inside its folder; got {path!r:.120}")
        if tensor_file.is_pickled(path):
            raise ArtifactError(
                f"policy {name!r} has the pickled file {path!r:.120}, which runs code when it is read; a policy is safetensors "
                "and JSON: convert it where you trust it"
            )
    numbers = {"values": row["values"]} | ({"weights": row["weights"]} if row.get("weights") else {})
    for what, mapping in numbers.items():
        if not np.isfinite(objectives.vector(mapping)).all():
            raise ObjectiveError(f"{what} of policy {name!r} must be finite; got {mapping}")
    if row.get("weights_kind", "simplex") not in ("simplex", "direction"):
        raise ArtifactError(
            f"weights_kind of policy {name!r} must be simplex or direction; got {row['weights_kind']!r}"
        )
    return PolicyRecord(
        **{k: row[k] for k in _FIELDS if row.get(k) is not None},
        facts={k: v for k, v in row.items() if k not in _FIELDS},
    )
