"""/v1/pareto/rollout: watch the agent that a query, weights or an id picks."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from pareto.errors import ParetoError, UsageError
from pareto.policy_record import PolicyRecord
from pareto.serve.episodes import play
from pareto.serve.schema import RolloutRequest
from pareto.serve.service import Service, refused
from pareto.serve.wishes import Wish
from pareto.steer.nearest import nearest_record
from pareto.steer.select import parse_query, select_record

router = APIRouter(tags=["agents"])
_one_at_a_time = asyncio.Semaphore(1)


@router.post("/v1/pareto/rollout", summary="One episode of an agent of the run")
async def rollout(request: Request, asked: RolloutRequest) -> dict[str, Any]:
    """The steps of an episode, with pictures where they are wanted and the environment draws."""
    service: Service = request.app.state.service
    fields = asked.pareto
    wish = Wish(fields.weights or service.settings.weights, fields.at, fields.policy, source="pareto")
    try:
        record, weights = _picked(service, wish)
        async with _one_at_a_time:
            policy = await asyncio.to_thread(_load, service, record, weights, fields.method)
            played = await asyncio.to_thread(
                play,
                service.run,
                policy,
                asked.seed,
                asked.steps,
                asked.frames,
                service.settings.limits.request_s,
            )
    except ParetoError as error:
        raise refused(error, wish) from error
    told = record.weights if weights is None else service.run.objectives.named(weights)
    return {
        "policy": record.id,
        "weights": None if told is None else dict(told),
        "values": dict(record.values),
        "seed": asked.seed,
    } | played


def _picked(service: Service, wish: Wish) -> tuple[PolicyRecord, np.ndarray | None]:
    """The measured agent that is wanted, and the weights for agents that can be shown others than their own."""
    run = service.run
    if not service.acts:
        raise UsageError("the policies of this run write text; ask /v1/chat/completions")
    if wish.at is not None:
        return select_record(run, parse_query(wish.at, run.objectives)), None
    if wish.policy is not None:
        return run[wish.policy], None
    if any(record.weights is not None for record in run):
        weights = service.menu.checked(wish)
        return nearest_record(run, weights), weights
    if wish.weights is None:
        return run.front()[0], None
    raise UsageError("these agents were made for no weights; ask by values: pareto.at or pareto.policy")


def _load(service: Service, record: PolicyRecord, weights: np.ndarray | None, method: str | None) -> Any:
    if weights is None:
        return service.run.policy(record)
    return service.run.steer(weights, method=method or service.settings.method)
