"""The page to steer by hand: files of the wheel, as they are, under a policy that lets nothing else in."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from pareto.serve.refusal import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
_STATIC = files("pareto.serve") / "static"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> Response:
    """The page."""
    return _file("index.html")


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """One of its files."""
    return _file(name)


def _file(name: str) -> Response:
    ending: Any = name.rpartition(".")[2]
    if not re.fullmatch(r"[a-z0-9_-]{1,60}\.(html|css|js)", name) or not (_STATIC / name).is_file():
        raise Refusal(404, "there is no such file")
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response((_STATIC / name).read_bytes(), media_type=KINDS[ending], headers=headers)
