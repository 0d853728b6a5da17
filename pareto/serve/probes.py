"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse

from pareto.serve.service import Service

router = APIRouter(tags=["probes"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """Always ok, while the process answers at all."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Whether requests are answered",
    responses={503: {"description": "not yet, or stopping"}},
)
async def readyz(request: Request) -> Any:
    """503 while loading and while stopping."""
    service: Service = request.app.state.service
    if service.ready:
        return {"status": "ready"}
    return JSONResponse({"status": "not ready"}, status_code=503)


@router.get("/metrics", summary="Counters in Prometheus' text format", response_class=PlainTextResponse)
async def metrics(request: Request) -> PlainTextResponse:
    """What the server counted since its start."""
    service: Service = request.app.state.service
    scheduler = service.scheduler
    text = service.metrics.render(scheduler.running, scheduler.waiting, service.menu.lanes())
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
