"""Continuous batching: one thread decodes for everybody; requests join and leave between two steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor

from pareto.errors import MachineError
from pareto.models.decoder import Decoder
from pareto.models.generate import choose
from pareto.serve.lanes import AnyLane, Lane, WholeLane
from pareto.serve.metrics import Metrics
from pareto.serve.refusal import Refusal, busy, stopping
from pareto.serve.ticket import Ticket

QUANTUM = 8
"""Steps for which a mixture that has one vector of coefficients at a time stays with it, while others wait."""
PREFILL_TOKENS = 512
"""Prompt tokens that are read between two steps while others decode; one prompt is read whatever its length."""

log = logging.getLogger("pareto.serve")


@final
class Batch:
    """Rows that take their steps together.

    Args:
        decoder: their tokens and cache.
        tickets: [B]; None where a reply is over and the cache could not be cut.
    """

    def __init__(self, decoder: Decoder, tickets: list[Ticket]) -> None:
        self.decoder = decoder
        self.tickets: list[Ticket | None] = list(tickets)

    @property
    def alive(self) -> list[Ticket]:
        """Replies that go on."""
        return [t for t in self.tickets if t is not None]

    def join(self, other: Batch) -> bool:
        """Take another batch's rows; False where the two cannot be put together."""
        if not self.decoder.join(other.decoder):
            return False
        self.tickets += other.tickets
        return True

    def step(self) -> int:
        """Draw a token for every row; returns how many."""
        logits = self.decoder.logits()
        tokens, logps = self._draw(logits), logits.float().log_softmax(-1)
        chosen = logps.gather(-1, tokens[:, None])[:, 0].tolist()
        drawn = 0
        for at, (ticket, token) in enumerate(zip(self.tickets, tokens.tolist())):
            if ticket is None:
                continue
            drawn += 1
            top = _top(logps[at], ticket.n_top) if ticket.n_top else ()
            if ticket.left or ticket.take(token, chosen[at], top):
                self.tickets[at] = None
        if self.alive:
            self.decoder.append(tokens)
            self.leave()
        return drawn

    def leave(self) -> None:
        """Let rows go that are over or not wanted any more."""
        self.tickets = [None if t is None or t.left else t for t in self.tickets]
        left = [at for at, ticket in enumerate(self.tickets) if ticket is not None]
        if left and len(left) < len(self.tickets) and self.decoder.keep(left):
            self.tickets = [self.tickets[at] for at in left]
            self.decoder.trim()

    def _draw(self, logits: Tensor) -> Tensor:
        """[B] one token a row, each by its own sampling."""
        tokens = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        alike: dict[tuple[float, float], list[int]] = {}
        for at, ticket in enumerate(self.tickets):
            if ticket is not None:
                alike.setdefault((ticket.sampling.temperature, ticket.sampling.top_p), []).append(at)
        for rows in alike.values():
            some = [self.tickets[at] for at in rows]
            draws = torch.tensor([t.draw() for t in some if t], dtype=torch.float64, device=logits.device)
            first = some[0]
            assert first is not None
            tokens[rows] = choose(logits[rows], draws, first.sampling)
        return tokens


@final
class Scheduler:
    """Decodes tickets of all lanes on a thread of its own.

    Args:
        rows: replies decoded at a time, over all lanes.
        queue: tickets that may wait; beyond, they are refused.
        metrics: what is counted.
    """

    def __init__(self, rows: int, queue: int, metrics: Metrics) -> None:
        self.rows, self.queue, self.metrics = rows, queue, metrics
        self._wake = threading.Condition()
        self._lanes: list[AnyLane] = []
        self._stopping = self._draining = False
        self._thread = threading.Thread(target=self._work, name="pareto scheduler", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, tickets: Iterable[Ticket]) -> None:
        """Take tickets, all or none.

        Raises:
            Refusal: the queue is full, or the server is stopping.
        """
        with self._wake:
            if self._draining or self._stopping:
                raise stopping()
            wanted = list(tickets)
            free = max(0, self.rows - self.running)
            if self.waiting + len(wanted) > self.queue + free:
                raise busy(self.queue)
            for ticket in wanted:
                ticket.lane.waiting.append(ticket)
                if ticket.lane not in self._lanes:
                    self._lanes.append(ticket.lane)
            self._wake.notify()

    @property
    def waiting(self) -> int:
        """Tickets in the queue."""
        return sum(len(lane.waiting) for lane in self._lanes)

    @property
    def running(self) -> int:
        """Tickets that are decoded."""
        return sum(len(batch.alive) for lane in self._lanes for batch in lane.batches)

    def drain(self) -> None:
        """Take nothing new; what is there goes on."""
        with self._wake:
            self._draining = True

    def stop(self) -> None:
        """End now: replies that are not over get a refusal."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join(60)

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._stopping and not self._lanes:
                    self._wake.wait()
                if self._stopping:
                    for lane in self._lanes:
                        _fail(lane, stopping())
                    self._lanes = []
                    return
                lanes = list(self._lanes)
            for lane in lanes:
                self._turn(lane)
            with self._wake:
                self._lanes = [lane for lane in self._lanes if lane.waiting or lane.batches]

    @torch.inference_mode()
    def _turn(self, lane: AnyLane) -> None:
        """Admit who waits, then one step for everybody in the lane."""
        try:
            if isinstance(lane, WholeLane):
                self._whole(lane)
                return
            self._admit(lane)
            batches = lane.batches if lane.per_row else lane.batches[:1]
            for batch in batches:
                self._steps(batch, 1 if lane.per_row or len(lane.batches) < 2 else QUANTUM)
            lane.batches = [b for b in lane.batches if b.alive]
            if not lane.per_row and len(lane.batches) > 1:
                lane.batches = [*lane.batches[1:], lane.batches[0]]
        except Exception as error:  # one lane's fault ends its replies, not the server
            log.exception("a lane of method %s failed", lane.method)
            _fail(lane, _told(error))

    def _whole(self, lane: WholeLane) -> None:
        """One reply of a lane that writes them whole."""
        with self._wake:
            ticket = lane.waiting.popleft() if lane.waiting else None
        if ticket is not None and not ticket.left:
            start = time.perf_counter()
            try:
                ticket.write()
            except Exception as error:  # one reply's fault ends that reply, not the server
                log.exception("a policy of method %s failed", lane.method)
                ticket.deliver(_told(error))
            self.metrics.step(time.perf_counter() - start, 0)

    def _steps(self, batch: Batch, n: int) -> None:
        for _ in range(n):
            batch.leave()
            if not batch.alive:
                return
            start = time.perf_counter()
            drawn = batch.step()
            self.metrics.step(time.perf_counter() - start, drawn)

    def _admit(self, lane: Lane) -> None:
        read = 0
        while lane.waiting and self.running < self.rows:
            if read and read + len(lane.waiting[0].ids) > PREFILL_TOKENS:
                break
            with self._wake:
                ticket = lane.waiting.popleft()
            if ticket.left:
                continue
            read += len(ticket.ids)
            row = None if ticket.coefficients is None else torch.from_numpy(ticket.coefficients[None])
            try:
                decoder = Decoder(lane.model, [ticket.ids], lane.pad, row, lane.prefixes)
            except Exception as error:  # one prompt's fault ends its reply, not the server
                log.exception("a prompt could not be read")
                ticket.deliver(_told(error))
                continue
            lane.batches.append(Batch(decoder, [ticket]))
        self._put_together(lane)

    def _put_together(self, lane: Lane) -> None:
        """Join batches that may take their steps together."""
        apart: list[Batch] = []
        for batch in lane.batches:
            alike = (b for b in apart if lane.per_row or _same_coefficients(b, batch))
            if not any(b.join(batch) for b in alike):
                apart.append(batch)
        lane.batches = apart


def _same_coefficients(one: Batch, other: Batch) -> bool:
    a, b = one.decoder.coefficients, other.decoder.coefficients
    return (a is None and b is None) or (a is not None and b is not None and bool((a[0] == b[0]).all()))


def _top(logps: Tensor, n: int) -> tuple[tuple[int, float], ...]:
    best = logps.topk(min(n, len(logps)))
    return tuple(zip(best.indices.tolist(), best.values.tolist()))


def _fail(lane: AnyLane, error: Exception) -> None:
    """End every reply of a lane."""
    tickets = [t for batch in lane.batches for t in batch.alive]
    lane.batches = []
    while lane.waiting:
        tickets.append(lane.waiting.popleft())
    for ticket in tickets:
        ticket.deliver(error)


def _told(error: Exception) -> Refusal:
    """What a client hears of a fault inside; the log has the rest."""
    memory = isinstance(error, MachineError | MemoryError) or "out of memory" in str(error)
    what = "the machine is out of memory" if memory else "the policy could not be computed"
    return Refusal(503, f"{what}; the request was given up", code="engine", headers={"Retry-After": "5"})
