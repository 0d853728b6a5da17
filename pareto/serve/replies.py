"""From an accepted request to its replies: tickets handed to the scheduler, and what comes back of them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from pareto.data.texts import Text
from pareto.models.generate import Sampling
from pareto.models.text_policy import Encoded
from pareto.serve.menu import Served
from pareto.serve.metrics import Metrics
from pareto.serve.refusal import Refusal
from pareto.serve.scheduler import Scheduler
from pareto.serve.schema import Asked
from pareto.serve.settings import Limits
from pareto.serve.ticket import Ticket, Told

DEFAULT_REPLY_TOKENS = 256
"""Longest reply where a request names none."""


class Part(NamedTuple):
    """One event of one of a request's replies."""

    index: int
    told: Told


@dataclass
class Reply:
    """One reply as far as it is."""

    text: str = ""
    parts: list[Told] = field(default_factory=list)
    end: str | None = None

    def add(self, told: Told) -> None:
        """Count an event in."""
        self.text += told.text
        self.parts.append(told)
        self.end = told.end


@final
class Replies:
    """The replies to one request, as they are drawn; a context that leaves nothing behind in the scheduler.

    Args:
        served: what answers.
        asked: how it is asked.
        prompts: [P] as they were asked.
        encoded: [P] the same, as the lane's policy encodes them under the weights.
        n_top: likeliest tokens wanted beside each.
        reply_tokens: longest reply wanted.
        limits: of the server.
        metrics: what is counted.
    """

    def __init__(
        self,
        served: Served,
        asked: Asked,
        prompts: Sequence[Text],
        encoded: Encoded,
        n_top: int,
        reply_tokens: int | None,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.served, self.metrics = served, metrics
        self.seed = secrets.randbits(31) if asked.seed is None else asked.seed
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[tuple[int, Told | Exception]]()
        self._start, self._first = time.perf_counter(), False
        lane, n = served.lane, asked.n or 1
        ids, rows = encoded
        self.prompt_tokens = sum(map(len, ids))
        self.tickets: list[Ticket] = []
        for p, prompt in enumerate(ids):
            if len(prompt) > limits.prompt_tokens:
                raise Refusal(
                    400,
                    f"a prompt of {len(prompt)} tokens is too long; at most {limits.prompt_tokens} are taken",
                    code="context_length_exceeded",
                )
            sampling = Sampling(
                max_new_tokens=lane.room(prompt, reply_tokens or DEFAULT_REPLY_TOKENS),
                temperature=1.0 if asked.temperature is None else float(asked.temperature),
                top_p=1.0 if asked.top_p is None else float(asked.top_p),
            )
            for copy in range(n):
                row = None if rows is None else rows[p] + 0.0
                deliver = self._to(len(self.tickets))
                self.tickets.append(
                    Ticket(
                        lane,
                        prompt,
                        row,
                        sampling,
                        self.seed,
                        copy,
                        tuple(asked.stops),
                        n_top,
                        deliver,
                        prompts[p],
                        served.weights,
                    )
                )

    def submit(self, scheduler: Scheduler) -> None:
        """Hand the tickets over.

        Raises:
            Refusal: the queue is full, or the server is stopping.
        """
        scheduler.submit(self.tickets)
        self.metrics.prompt(self.prompt_tokens)

    async def parts(self) -> AsyncIterator[Part]:
        """Events of all replies until each is over.

        Raises:
            Refusal: a fault inside, or a stopping server.
        """
        open_ = len(self.tickets)
        while open_:
            index, told = await self._events.get()
            if isinstance(told, Exception):
                raise told
            if not self._first:
                self._first = True
                self.metrics.first_token(time.perf_counter() - self._start)
            open_ -= told.end is not None
            yield Part(index, told)

    async def whole(self) -> list[Reply]:
        """All replies, when they are over."""
        replies = [Reply() for _ in self.tickets]
        async for index, told in self.parts():
            replies[index].add(told)
        return replies

    def leave(self) -> None:
        """Nobody waits for these replies any more; rows go before the next step."""
        for ticket in self.tickets:
            ticket.left = True

    def _to(self, index: int) -> Any:
        def deliver(told: Told | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(self._events.put_nowait, (index, told))

        return deliver
