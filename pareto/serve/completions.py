"""/v1/chat/completions and /v1/completions: OpenAI's fields in, and replies under the weights that the request wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from pareto.data.texts import Chat, Text
from pareto.data.texts import Message as ChatMessage
from pareto.errors import ParetoError
from pareto.serve import wire
from pareto.serve.lanes import WholeLane
from pareto.serve.menu import Served
from pareto.serve.refusal import Refusal
from pareto.serve.replies import Replies
from pareto.serve.schema import Asked, ChatRequest, CompletionRequest
from pareto.serve.service import Service, refused
from pareto.serve.settings import Limits
from pareto.serve.wishes import HEADER

router = APIRouter(tags=["completions"])


@router.post("/v1/chat/completions", summary="A chat reply under weights")
async def chat(request: Request, asked: ChatRequest) -> Any:
    """One or several replies to a conversation."""
    service: Service = request.app.state.service
    limits = service.settings.limits
    if len(asked.messages) > limits.messages:
        raise Refusal(
            400, f"at most {limits.messages} messages are taken; got {len(asked.messages)}", param="messages"
        )
    _check(asked, [m.text for m in asked.messages], asked.top_logprobs or 0, limits)
    wanted = asked.max_completion_tokens or asked.max_tokens
    served = await _served(request, asked)
    prompt = _conversation(asked, served.lane.tokenizer)
    logprobs = bool(asked.logprobs)
    replies = await _replies(
        service, served, asked, [prompt], asked.top_logprobs or 0 if logprobs else 0, wanted
    )
    tokenizer, about = served.lane.tokenizer, _about(replies, asked)
    if asked.stream:
        opening = [wire.chat_delta(i, None, tokenizer, False) for i in range(len(replies.tickets))]
        return _streamed(
            request, asked, replies, about, "chat.completion.chunk", opening, logprobs,
            lambda index, told: wire.chat_delta(index, told, tokenizer, logprobs),
        )  # fmt: skip
    return await _whole(
        request, asked, replies, about, "chat.completion",
        lambda index, reply: wire.chat_choice(index, reply, tokenizer, logprobs),
    )  # fmt: skip


@router.post("/v1/completions", summary="A continuation of text under weights")
async def complete(request: Request, asked: CompletionRequest) -> Any:
    """One or several continuations of one or several prompts."""
    service: Service = request.app.state.service
    limits, prompts = service.settings.limits, asked.prompts
    if not 1 <= len(prompts) <= limits.prompts:
        raise Refusal(400, f"1 to {limits.prompts} prompts are taken; got {len(prompts)}", param="prompt")
    _check(asked, prompts, asked.logprobs or 0, limits)
    if asked.echo and asked.stream:
        raise Refusal(
            400, "a streamed reply does not echo its prompt; leave out echo or stream", param="echo"
        )
    served = await _served(request, asked)
    replies = await _replies(service, served, asked, prompts, asked.logprobs or 0, asked.max_tokens)
    tokenizer, about, logprobs = served.lane.tokenizer, _about(replies, asked), asked.logprobs is not None
    if asked.stream:
        return _streamed(
            request, asked, replies, about, "text_completion", [], logprobs,
            lambda index, told: wire.text_choice(index, told.text, [told], told.end, tokenizer, logprobs),
        )  # fmt: skip

    def choice(index: int, reply: Any) -> dict[str, Any]:
        before = prompts[index // (asked.n or 1)] if asked.echo else ""
        return wire.text_choice(index, before + reply.text, reply.parts, reply.end, tokenizer, logprobs)

    return await _whole(request, asked, replies, about, "text_completion", choice)


def _check(asked: Asked, texts: Sequence[str], n_top: int, limits: Limits) -> None:
    """Everything that can be said of a request before any work is done for it."""
    longest = max(asked.max_tokens or 0, getattr(asked, "max_completion_tokens", None) or 0)
    bounds = [
        ("n", asked.n or 1, limits.choices),
        ("max_tokens", longest, limits.reply_tokens),
        ("stop", len(asked.stops), limits.stops),
        ("stop", max(map(len, asked.stops), default=0), limits.stop_chars),
        ("top_logprobs", n_top, limits.top_logprobs),
        ("prompt", sum(map(len, texts)), limits.prompt_chars),
    ]
    for field, got, most in bounds:
        if got > most:
            raise Refusal(400, f"{field} may be at most {most}; got {got}", param=field)
    for text in (*texts, *asked.stops):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Refusal(400, "a text holds half a surrogate pair, which is no character") from None


async def _served(request: Request, asked: Asked) -> Served:
    service: Service = request.app.state.service
    if service.acts:
        raise Refusal(
            400, "the policies of this run act in an environment: POST /v1/pareto/rollout", code="agents"
        )
    wish = service.wish(asked.model, asked.pareto, request.headers.get(HEADER), request.state.token_weights)
    try:
        return await asyncio.to_thread(service.menu.serve, wish)
    except ParetoError as error:
        raise refused(error, wish) from error


async def _replies(
    service: Service, served: Served, asked: Asked, prompts: Sequence[Text], n_top: int, wanted: int | None
) -> Replies:
    if isinstance(served.lane, WholeLane) and asked.logprobs not in (None, False):  # type: ignore[attr-defined]  # of both kinds of request
        raise Refusal(
            400, f"method {served.lane.method!r} has no log-probabilities of its replies", param="logprobs"
        )
    try:
        encoded = await asyncio.to_thread(served.lane.encode, prompts, served.weights)
        replies = Replies(
            served, asked, prompts, encoded, n_top, wanted, service.settings.limits, service.metrics
        )
    except ParetoError as error:
        raise Refusal(400, str(error)) from error
    replies.submit(service.scheduler)
    return replies


def _conversation(asked: ChatRequest, tokenizer: Any) -> Text:
    """Messages for the model's chat template; without one, a single user message is a plain prompt."""
    if not getattr(tokenizer, "chat_template", None):
        if len(asked.messages) == 1 and asked.messages[0].role == "user":
            return asked.messages[0].text
        raise Refusal(
            400,
            "this model has no chat template, so a conversation is one user message; got "
            f"{len(asked.messages)} messages ({', '.join(dict.fromkeys(m.role for m in asked.messages))})",
            param="messages",
        )
    return Chat(tuple(ChatMessage(m.role, m.text) for m in asked.messages))


def _about(replies: Replies, asked: Asked) -> dict[str, Any]:
    about = replies.served.describe() | {"seed": replies.seed}
    return about | (
        {"warnings": [f"field {name!r} is ignored" for name in asked.ignored]} if asked.ignored else {}
    )


async def _whole(
    request: Request,
    asked: Asked,
    replies: Replies,
    about: dict[str, Any],
    kind: str,
    choice: Callable[[int, Any], Any],
) -> JSONResponse:
    service: Service = request.app.state.service
    done = asyncio.create_task(replies.whole())
    gone = asyncio.create_task(_gone(request))
    try:
        limit = service.settings.limits.request_s
        await asyncio.wait({done, gone}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            if gone.done():
                service.metrics.disconnect()
                raise Refusal(499, "the client went away", code="disconnected")
            raise Refusal(503, f"the reply was not done within {limit:g} s", code="deadline")
        all_ = done.result()
    finally:
        replies.leave()
        done.cancel()
        gone.cancel()
    tokens = sum(len(reply.parts) for reply in all_)
    body = wire.head(kind, asked.model, about["digest"]) | {
        "choices": [choice(i, reply) for i, reply in enumerate(all_)],
        "usage": wire.usage(replies.prompt_tokens, tokens),
        "pareto": about,
    }
    return JSONResponse(body)


def _streamed(
    request: Request,
    asked: Asked,
    replies: Replies,
    about: dict[str, Any],
    kind: str,
    opening: list[dict[str, Any]],
    every: bool,
    choice: Callable[[int, Any], Any],
) -> StreamingResponse:
    service: Service = request.app.state.service
    first = wire.head(kind, asked.model, about["digest"])
    options = asked.stream_options

    async def events() -> AsyncIterator[bytes]:
        tokens, over = 0, False
        try:
            async with asyncio.timeout(service.settings.limits.request_s):
                for delta in opening:
                    yield wire.event(first | {"choices": [delta], "pareto": about})
                async for index, told in replies.parts():
                    tokens += 1
                    if told.text or told.end or every:
                        more = {"pareto": about} if told.end or tokens == 1 else {}
                        yield wire.event(first | {"choices": [choice(index, told)]} | more)
            if options is not None and options.include_usage:
                yield wire.event(
                    first
                    | {"choices": [], "usage": wire.usage(replies.prompt_tokens, tokens), "pareto": about}
                )
            yield wire.DONE
            over = True
        except Refusal as refusal:
            yield wire.event(refusal.to_json())
            over = True
        except TimeoutError:
            yield wire.event(Refusal(503, "the reply was not done in time", code="deadline").to_json())
            over = True
        finally:
            replies.leave()
            if not over:
                service.metrics.disconnect()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _gone(request: Request) -> None:
    """Return when the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
