"""A request that is not answered as asked, in the envelope that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Refusal(Exception):
    """What is said instead of an answer.

    Args:
        status: of HTTP.
        message: expected, came, what to do.
        param: the field it is about, dotted.
        code: a word for programs.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        kinds = {
            401: "authentication_error",
            403: "permission_error",
            404: "not_found_error",
            429: "rate_limit_error",
        }
        kind = kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def busy(queue: int) -> Refusal:
    """429: the queue is full."""
    return Refusal(
        429,
        f"{queue} requests are waiting already; try again soon",
        code="queue_full",
        headers={"Retry-After": "1"},
    )


def stopping() -> Refusal:
    """503: the server finishes what it has and takes nothing new."""
    return Refusal(
        503, "the server is stopping and takes no new requests", code="stopping", headers={"Retry-After": "5"}
    )


def fault() -> Refusal:
    """503: something nobody expected; the log has the rest, the client nothing of it."""
    return Refusal(503, "something went wrong here; the log of the server has more", code="internal")
