"""/v1/models and what was measured: the front, and the policy that meets a query or is best for a utility."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from pareto.errors import ParetoError, UsageError
from pareto.policy_record import PolicyRecord
from pareto.policy_set import STEERERS, PolicySet
from pareto.serve.refusal import Refusal
from pareto.serve.schema import SelectRequest
from pareto.serve.service import Service
from pareto.steer.nearest import nearest_record
from pareto.steer.select import parse_query, select_record

router = APIRouter(tags=["front"])


@router.get("/v1/models", summary="Names that requests may give as their model")
async def models(request: Request) -> dict[str, Any]:
    """The run, and every measured policy as a name of its own."""
    service: Service = request.app.state.service
    names = [service.name, *(f"{service.name}@{record.id}" for record in service.run)]
    created = int(service.metrics.started)
    rows = [{"id": name, "object": "model", "created": created, "owned_by": "pareto"} for name in names]
    return {"object": "list", "data": rows}


@router.get("/v1/models/{model:path}", summary="One of them")
async def model(request: Request, model: str) -> dict[str, Any]:
    """What /v1/models says of one name."""
    listed = await models(request)
    for row in listed["data"]:
        if row["id"] == model:
            return row
    raise Refusal(404, f"there is no model {model!r:.200} here", param="model", code="model_not_found")


@router.get("/v1/pareto/front", summary="Measured policies, their values and their weights")
async def front(request: Request) -> dict[str, Any]:
    """Everything that was measured."""
    service: Service = request.app.state.service
    run = service.run
    on_front = {record.id for record in run.front()}
    exact = run.exact or {}
    return {
        "name": service.name,
        "kind": "agent" if service.acts else "text",
        "objectives": run.objectives.to_json(),
        "weights_kind": run.weights_kind,
        "ref_point": None if run.ref_point is None else run.objectives.named(run.ref_point),
        "indicators": dict(run.indicators),
        "exact_front": exact.get("front"),
        "methods": [] if service.acts else _methods(),
        "default_method": service.settings.method,
        "limits": service.settings.limits.model_dump(),
        "policies": [_policy(record, record.id in on_front) for record in run],
        "sample_prompts": await asyncio.to_thread(_prompts, run),
    }


@router.post("/v1/pareto/select", summary="A query, a utility or weights to a measured policy")
async def select(request: Request, asked: SelectRequest) -> dict[str, Any]:
    """The measured policy that is wanted, and the weights it was made for."""
    service: Service = request.app.state.service
    run = service.run
    given = [key for key in ("at", "utility", "weights") if getattr(asked, key) is not None]
    if len(given) != 1:
        raise Refusal(400, f"give one of at, utility and weights; got {' and '.join(given) or 'none'}")
    try:
        record = _chosen(run, asked)
    except ParetoError as error:
        raise Refusal(400, str(error), param=given[0], code=type(error).__name__) from error
    on_front = {r.id for r in run.front()}
    return {"selected_by": given[0], "policy": _policy(record, record.id in on_front)}


def _chosen(run: PolicySet, asked: SelectRequest) -> PolicyRecord:
    if not len(run):
        raise UsageError("the run holds no policy")
    if asked.at is not None:
        return select_record(run, parse_query(asked.at, run.objectives))
    if asked.utility is not None:
        worth = run.objectives.vector(dict.fromkeys(run.objectives.names, 0.0) | asked.utility)
        return run[int(np.argmax(run.values @ worth))]
    vector = run.objectives.vector(asked.weights or {})
    if not vector.sum() > 0:
        raise UsageError(f"at least one weight must be positive; got {asked.weights}")
    return nearest_record(run, run.check_weights(vector / vector.sum()))


def _policy(record: PolicyRecord, on_front: bool) -> dict[str, Any]:
    return {
        "id": record.id,
        "kind": record.kind,
        "seed": record.seed,
        "weights": None if record.weights is None else dict(record.weights),
        "values": dict(record.values),
        "ci95": record.facts.get("ci95"),
        "non_dominated": on_front,
    }


def _methods() -> list[dict[str, str]]:
    return [{"name": e.name, "summary": e.summary} for e in STEERERS if e.name != "select"]


def _prompts(run: PolicySet, n: int = 5) -> list[str]:
    """The first prompts among the samples that the run kept."""
    import json

    found: dict[str, None] = {}
    for record in run:
        path = run.folder / "samples" / f"{record.id}.jsonl"
        if path.is_symlink() or not path.is_file():
            continue
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    prompt = json.loads(line).get("prompt")
                except (ValueError, AttributeError):
                    break
                if isinstance(prompt, str):
                    found[prompt] = None
                if len(found) >= n:
                    return list(found)
    return list(found)
