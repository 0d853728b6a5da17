"""A prompt or a response as people wrote it: a plain string, or chat messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pareto.data.bad_rows import RowError


class Message(NamedTuple):
    """One chat message; `extra` holds any further keys (tool calls, names) as canonical JSON."""

    role: str
    content: str
    extra: str = ""

    def to_json(self) -> dict[str, Any]:
        """The message as a chat template wants it."""
        return {"role": self.role, "content": self.content, **(json.loads(self.extra) if self.extra else {})}


class Chat(NamedTuple):
    """Chat messages in order; `tools` holds tool definitions as canonical JSON, or nothing."""

    messages: tuple[Message, ...]
    tools: str = ""


Text = str | Chat
"""What a prompt or a response is."""


def plain(text: Text) -> str:
    """The text to score or to show: a string as it is, of a chat the contents, one message a paragraph."""
    return text if isinstance(text, str) else "\n\n".join(m.content for m in text.messages)


def as_chat(prompt: Text) -> Chat:
    """A prompt as chat: a string becomes one user message."""
    return Chat((Message("user", prompt),)) if isinstance(prompt, str) else prompt


def parse_text(value: Any, column: str) -> Text:
    """A string or a list of `{"role", "content"}` as `Text`.

    Raises:
        RowError: anything else, naming the column; or text that is not valid Unicode.
    """
    if isinstance(value, str):
        return _unicode(value, column)
    if isinstance(value, list) and value:
        return Chat(tuple(_message(m, f"{column}[{i}]") for i, m in enumerate(value)))
    raise RowError(
        f"{column!r} must be a string or a list of chat messages; got {_show(value)}"
        if value != []
        else f"{column!r} is an empty list of messages"
    )


def parse_string(value: Any, column: str) -> str:
    """A string.

    Raises:
        RowError: anything else, naming the column; or text that is not valid Unicode.
    """
    if not isinstance(value, str):
        raise RowError(f"{column!r} must be a string; got {_show(value)}")
    return _unicode(value, column)


def canonical(value: Any) -> str:
    """JSON text by which equal values are equal."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def shared_length(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many elements two sequences share at their start."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str):
        raise RowError(f"{where} must be an object with 'role' and 'content'; got {_show(value)}")
    extra = {k: v for k, v in value.items() if k not in ("role", "content") and v is not None}
    content = value.get("content")
    if content is None and extra:
        content = ""  # a message that only calls a tool
    if not isinstance(content, str):
        raise RowError(f"{where}.content must be a string; got {_show(content)}")
    return Message(value["role"], _unicode(content, where), canonical(extra) if extra else "")


def _unicode(text: str, column: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(f"{column!r} holds half a surrogate pair, which is not text") from None
    return text


def _show(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
