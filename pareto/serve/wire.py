"""The shapes of OpenAI's answers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pareto.serve.replies import Reply
from pareto.serve.ticket import Told

DONE = b"data: [DONE]\n\n"


def event(body: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def head(kind: str, model: str, fingerprint: str) -> dict[str, Any]:
    """What every answer and every chunk begins with.

    Args:
        kind: "chat.completion", "chat.completion.chunk" or "text_completion".
        model: as the request called it.
        fingerprint: of what decides the reply.
    """
    prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": f"fp_{fingerprint}",
    }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Tokens of a request."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def chat_choice(index: int, reply: Reply, tokenizer: Any, logprobs: bool) -> dict[str, Any]:
    """A whole chat reply."""
    return {
        "index": index,
        "message": {"role": "assistant", "content": reply.text, "refusal": None},
        "logprobs": {"content": [_chat_token(t, tokenizer) for t in reply.parts], "refusal": None}
        if logprobs
        else None,
        "finish_reason": reply.end,
    }


def chat_delta(index: int, told: Told | None, tokenizer: Any, logprobs: bool) -> dict[str, Any]:
    """What one token adds to a chat reply; None opens it."""
    if told is None:
        return {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        }
    content = [_chat_token(told, tokenizer)] if logprobs else None
    return {
        "index": index,
        "delta": {"content": told.text} if told.text or told.end is None else {},
        "logprobs": None if content is None else {"content": content, "refusal": None},
        "finish_reason": told.end,
    }


def text_choice(
    index: int, text: str, parts: Sequence[Told], end: str | None, tokenizer: Any, logprobs: bool
) -> dict[str, Any]:
    """A reply, or what one token adds to it, of /v1/completions."""
    told = None
    if logprobs:
        tokens = [tokenizer.decode([t.token]) for t in parts]
        offsets, at = [], 0
        for t in parts:
            offsets.append(at)
            at += len(t.text)
        told = {
            "tokens": tokens,
            "token_logprobs": [t.logp for t in parts],
            "top_logprobs": [{tokenizer.decode([i]): p for i, p in t.top} for t in parts],
            "text_offset": offsets,
        }
    return {"index": index, "text": text, "logprobs": told, "finish_reason": end}


def _chat_token(told: Told, tokenizer: Any) -> dict[str, Any]:
    def one(token: int, logp: float) -> dict[str, Any]:
        text = tokenizer.decode([token])
        return {"token": text, "logprob": logp, "bytes": list(text.encode("utf-8"))}

    return one(told.token, told.logp) | {"top_logprobs": [one(i, p) for i, p in told.top]}
