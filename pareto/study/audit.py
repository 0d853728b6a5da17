"""Whether a run folder says what its store says: files by the digests of finished cells, front.json by what it is made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError, ParetoError
from pareto.state import manifest
from pareto.study.committed import recorded
from pareto.study.finish import FRONT_SHA256
from pareto.study.front_json import cost_block
from pareto.study.layout import RunFolder
from pareto.study.rows import Row
from pareto.study.seal import SEAL, is_broken
from pareto.study.store import Store


def store_problems(folder: Path, front: Mapping[str, Any] | None) -> list[str]:
    """What a complete run folder and its store tell differently; an imported run has no store.

    The files themselves are not read: whether they have the digests of the manifest is the manifest's matter, here these are
    compared with the store's.

    Args:
        folder: the run folder.
        front: content of its front.json, or None where that cannot be read.
    """
    run = RunFolder(folder)
    if not run.store.is_file():
        swept = front is not None and (front.get("provenance") or {}).get("config_sha256") is not None
        return [f"{run.store} is missing, though a sweep made the run"] if swept else []
    try:
        with Store(run.store) as store:
            planned, kept = store.rows(), store.rows(planned=False)
            digest = store.get(FRONT_SHA256)
            broken = is_broken(store) or (digest is not None and store.get(SEAL, missing=digest) == digest)
    except ParetoError as error:
        return [str(error)]
    problems = [f"{run.store} does not hold what it held when the sweep ended"] if broken else []
    problems += _files(run, [*planned, *kept])
    if front is not None:
        problems += _front(run, planned, front, digest)
    return problems


def _files(run: RunFolder, rows: list[Row]) -> Iterator[str]:
    try:
        listed = manifest.read(run.root)
    except ArtifactError:
        return  # told when the manifest was checked
    for row in rows:
        for name, sha256 in recorded(row).items():
            if listed.get(name) != sha256:
                stated = f"states {listed[name][:12]}..." if name in listed else "does not list it"
                yield (
                    f"{run.root / name}: cell {row.cell.id} was committed with sha256 {sha256[:12]}..., the manifest {stated}"
                )


def _front(run: RunFolder, planned: list[Row], front: Mapping[str, Any], digest: str | None) -> Iterator[str]:
    """front.json is a function of the store: the same bytes, the same policies and files, the same costs."""
    if digest is not None and manifest.sha256_of(run.root, run.front.name) != digest:
        yield f"{run.front} is not what was written last: {run.store} holds the sha256 {digest[:12]}..."
    held = {
        policy["id"]: policy
        for row in planned
        if row.status == "done" and row.result and row.cell.role == "policy"
        for policy in row.result["policies"]
    }
    stated = {policy["id"]: policy for policy in front["policies"]}
    named = {*stated, *(one["id"] for one in front.get("quarantined", ()))}
    if named != set(held):
        odd = sorted(named ^ set(held))
        yield f"{run.front} and {run.store} hold different policies: only one of them holds {', '.join(odd)}"
    for name in sorted(set(stated) & set(held)):
        if stated[name]["files"] != held[name]["files"]:
            yield f"{run.front}: the files of policy {name} are not those that the store holds"
    cost, truth = front.get("cost") or {}, cost_block(planned)
    for name in sorted(set(cost) & set(truth)):
        if not _equal(cost[name], truth[name]):
            yield f"{run.front}: cost {name} is stated as {cost[name]}; the cells of the store give {truth[name]}"


def _equal(stated: Any, true: Any) -> bool:
    if stated is None or true is None:
        return stated is true
    return math.isclose(stated, true, rel_tol=1e-9)
