"""The gate before every route: who may call, under which name, with what body. Nothing behind it sees a request that fails."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, final

from pareto.serve.refusal import Refusal, fault, stopping
from pareto.serve.service import Service
from pareto.serve.settings import LOOPBACK

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPEN = re.compile(r"/|/healthz|/readyz|/static/[a-z0-9_.-]+")
"""What may be asked for without a token: the page, which asks for one, and whether the server lives."""
METHODS = ("GET", "HEAD", "POST")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]

log = logging.getLogger("pareto.serve")


@final
class Gate:
    """ASGI middleware around the whole application.

    Host and Origin are held against the names of this server, so that no foreign page reaches it through a visitor's
    browser; tokens are compared in constant time; bodies are counted, timed and parsed strictly before a route runs.

    Args:
        app: the routes.
        service: the server's parts.
    """

    def __init__(self, app: Any, service: Service) -> None:
        self.app, self.service = app, service
        settings = service.settings
        names = {*LOOPBACK, settings.host, *settings.allow_hosts}
        self._names = {name.lower() for name in names - {"0.0.0.0", "::"}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let it through."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        answer = _Answer(send, self.service.settings.limits.write_s)
        try:
            headers = _headers(scope)
            self._check_caller(scope, headers)
            if scope["method"] == "POST":
                receive = await self._with_body(headers, receive)
            await self.app(scope, receive, answer.send)
        except Refusal as refusal:
            await answer.refuse(refusal)
        except TimeoutError:
            if answer.status is not None:
                raise  # uvicorn closes the connection: the client does not take what is written
            await answer.refuse(Refusal(408, "the request took too long to arrive", code="deadline"))
        except Exception:
            log.exception("a route failed")
            if answer.status is None:
                await answer.refuse(fault())
            elif not answer.whole:
                raise  # uvicorn closes the connection: what was begun cannot be finished
        finally:
            self.service.metrics.request(_route(scope), answer.status or 499)

    def _check_caller(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Raise what keeps this caller out; note its token's default weights."""
        host = headers.get("host", "")
        if _name(host) not in self._names:
            raise Refusal(
                403,
                f"this server is not called {host!r:.120}; start it with --allow-host for further names",
                code="host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
            raise Refusal(403, f"requests from pages of {origin!r:.120} are not answered", code="origin")
        if scope["method"] not in METHODS:
            raise Refusal(
                405,
                f"{scope['method']:.20} is not answered here",
                code="method",
                headers={"Allow": ", ".join(METHODS)},
            )
        scope.setdefault("state", {})["token_weights"] = None
        tokens = self.service.settings.tokens
        if tokens and not OPEN.fullmatch(scope["path"]):
            scope["state"]["token_weights"] = tokens[_token(headers.get("authorization", ""), tokens)]

    async def _with_body(self, headers: Mapping[str, str], receive: Receive) -> Receive:
        """Read, bound and parse the body; returns a `receive` that gives it again."""
        limits = self.service.settings.limits
        if not self.service.ready:
            raise stopping()
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(
                415, "the body must be JSON, with content-type: application/json", code="content_type"
            )
        try:
            announced = int(headers.get("content-length", "0"))
        except ValueError:
            raise Refusal(400, "content-length is no number") from None
        too_large = Refusal(
            413,
            f"a body may have at most {limits.body_bytes} bytes",
            code="too_large",
            headers={"Connection": "close"},
        )
        if announced > limits.body_bytes:
            await _let_through(receive, 4 * limits.body_bytes)
            raise too_large
        body, more = b"", True
        async with asyncio.timeout(limits.body_s):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(499, "the client went away", code="disconnected")
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > limits.body_bytes:
                    await _let_through(receive, 4 * limits.body_bytes)
                    raise too_large
        _check_json(body, limits.depth)
        return _again(body, receive)


class _Answer:
    """What is sent back: headers that every answer has, a deadline for every write, and the status for the count."""

    def __init__(self, send: Send, write_s: float) -> None:
        self._send, self._write_s = send, write_s
        self.status: int | None = None
        self.whole = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        async with asyncio.timeout(self._write_s):
            await self._send(message)
        self.whole = message["type"] == "http.response.body" and not message.get("more_body", False)

    async def refuse(self, refusal: Refusal) -> None:
        body = json.dumps(refusal.to_json()).encode()
        more = [(k.lower().encode(), v.encode()) for k, v in refusal.headers.items()]
        if refusal.status == 401:
            more.append((b"www-authenticate", b"Bearer"))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *more,
        ]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _let_through(receive: Receive, most: int) -> None:
    """Read what a client is about to send and forget it: one that is cut off while it writes never reads the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while most > 0:
                message = await receive()
                most -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return


def _check_json(body: bytes, depth: int) -> None:
    """Refuse what is not strict JSON: NaN, infinity, doubled keys, deep nesting, no object."""

    def no_constant(word: str) -> float:
        raise ValueError(f"{word} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key comes twice in one object")
        return found

    try:
        parsed = json.loads(body, parse_constant=no_constant, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(400, f"the body is no JSON that is read here: {why:.200}", code="json") from None
    if not isinstance(parsed, dict):
        raise Refusal(400, f"the body must be a JSON object; got {type(parsed).__name__}", code="json")
    level: list[Any] = [parsed]
    for _ in range(depth):
        level = [
            v
            for item in level
            for v in (item.values() if isinstance(item, dict) else item)
            if isinstance(v, dict | list)
        ]
        if not level:
            return
    raise Refusal(400, f"the body may be nested {depth} deep at most", code="json")


def _headers(scope: Scope) -> dict[str, str]:
    """Headers by lower-case name; a doubled Host, Origin, Authorization or Content-Length is refused."""
    found: dict[str, str] = {}
    for key, value in scope["headers"]:
        name = key.decode("latin-1").lower()
        if name in found and name in ("host", "origin", "authorization", "content-length", "content-type"):
            raise Refusal(400, f"the header {name} comes twice", code="headers")
        found[name] = value.decode("latin-1")
    return found


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _token(authorization: str, tokens: Mapping[str, Any]) -> str:
    """Which token a header holds; every one is compared, each in constant time."""
    kind, _, given = authorization.partition(" ")
    found = None
    for token in tokens:
        if hmac.compare_digest(token.encode(), given.strip().encode("utf-8", "surrogateescape")):
            found = token
    if kind.lower() != "bearer" or found is None:
        raise Refusal(
            401, "a token is needed: send the header 'Authorization: Bearer TOKEN'", code="invalid_api_key"
        )
    return found


def _route(scope: Scope) -> str:
    """The path for the count; paths that are no routes are one."""
    route = scope.get("route")
    return getattr(route, "path", None) or (
        scope["path"] if OPEN.fullmatch(scope["path"]) and "/static" not in scope["path"] else "other"
    )
