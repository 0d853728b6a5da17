"""The application: routes, one error envelope, and the gate around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pareto.serve import completions, measured, page, probes, rollouts
from pareto.serve.gate import Gate
from pareto.serve.refusal import Refusal, fault
from pareto.serve.service import Service

_ENVELOPE = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_REFUSALS = {
    400: "the request cannot be read, or asks for what the run cannot serve",
    401: "no token, or a wrong one",
    403: "another host's name, or another page's origin",
    404: "no such thing here",
    408: "the body took too long",
    413: "the body is too large",
    415: "the body is no JSON",
    429: "the queue is full",
    503: "not ready, stopping, or a fault inside",
}


def make_app(service: Service) -> Gate:
    """The whole server as an ASGI application.

    Args:
        service: what it serves; started and stopped with the application.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start)
        yield
        await asyncio.to_thread(service.stop)

    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {"application/json": {"schema": _ENVELOPE}}}
        for status, text in _REFUSALS.items()
    }
    app = FastAPI(
        title="pareto",
        description="OpenAI's API with weights of its own for every request.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        lifespan=life,
    )
    app.state.service = service
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)
    for routes in (completions, measured, rollouts, probes):
        app.include_router(routes.router, responses=answers)
    app.include_router(page.router)
    return Gate(app, service)


async def _refusal(request: Request, error: Any) -> JSONResponse:
    return JSONResponse(error.to_json(), status_code=error.status, headers=error.headers)


async def _invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return await _refusal(
        request, Refusal(400, f"{place or 'body'}: {first['msg']:.300}", param=place or None, code="invalid")
    )


async def _http(request: Request, error: Any) -> JSONResponse:
    path = request.url.path
    words = {
        404: f"there is nothing at {path!r:.200}",
        405: f"{request.method} is not answered at {path!r:.200}",
    }
    refusal = Refusal(
        error.status_code, words.get(error.status_code, str(error.detail)), headers=error.headers
    )
    return await _refusal(request, refusal)


async def _fault(request: Request, error: Any) -> JSONResponse:
    return await _refusal(request, fault())
