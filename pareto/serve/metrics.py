"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, final

BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@final
class Metrics:
    """Counters of one server; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.started = time.time()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.tokens = self.steps = self.prompt_tokens = self.disconnects = 0
        self.step_s = 0.0
        self._first: Counter[float] = Counter()
        self._first_n, self._first_s = 0, 0.0

    def request(self, route: str, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.requests[route, status] += 1

    def step(self, took_s: float, tokens: int) -> None:
        """Count one step of a batch."""
        with self._lock:
            self.steps += 1
            self.step_s += took_s
            self.tokens += tokens

    def prompt(self, tokens: int) -> None:
        """Count tokens of prompts."""
        with self._lock:
            self.prompt_tokens += tokens

    def first_token(self, took_s: float) -> None:
        """Count the wait for a reply's first token."""
        with self._lock:
            self._first_n += 1
            self._first_s += took_s
            for bound in BUCKETS_S:
                self._first[bound] += took_s <= bound

    def disconnect(self) -> None:
        """Count a client that went away before its reply was over."""
        with self._lock:
            self.disconnects += 1

    def render(self, running: int, waiting: int, lanes: list[Any]) -> str:
        """Everything as text.

        Args:
            running: replies that are decoded.
            waiting: replies in the queue.
            lanes: what is loaded.
        """
        with self._lock:
            return "\n".join(self._lines(running, waiting, lanes)) + "\n"

    def _lines(self, running: int, waiting: int, lanes: list[Any]) -> Iterator[str]:
        yield from _kind("pareto_requests_total", "counter", "answers by route and status")
        for (route, status), n in sorted(self.requests.items()):
            yield f'pareto_requests_total{{route="{route}",status="{status}"}} {n}'
        caches = [lane.prefixes for lane in lanes if lane.prefixes is not None]
        numbers = [
            ("pareto_generated_tokens_total", "counter", "tokens drawn", self.tokens),
            ("pareto_prompt_tokens_total", "counter", "tokens of accepted prompts", self.prompt_tokens),
            ("pareto_steps_total", "counter", "decoding steps of batches", self.steps),
            ("pareto_step_seconds_total", "counter", "time in decoding steps", f"{self.step_s:.6f}"),
            ("pareto_disconnects_total", "counter", "clients that left before the end", self.disconnects),
            ("pareto_running", "gauge", "replies that are decoded", running),
            ("pareto_waiting", "gauge", "replies in the queue", waiting),
            ("pareto_policies_loaded", "gauge", "models in memory", len(lanes)),
            ("pareto_prefix_hits_total", "counter", "prompt blocks found", sum(c.hits for c in caches)),
            ("pareto_prefix_misses_total", "counter", "prompt blocks read", sum(c.misses for c in caches)),
            ("pareto_prefix_bytes", "gauge", "memory of prompt blocks", sum(c.bytes for c in caches)),
            ("process_resident_memory_bytes", "gauge", "resident memory", resident_bytes()),
            ("process_open_fds", "gauge", "open descriptors", open_descriptors()),
            ("process_start_time_seconds", "gauge", "start", f"{self.started:.3f}"),
        ]
        for name, kind, text, value in numbers:
            yield from _kind(name, kind, text)
            yield f"{name} {value}"
        name = "pareto_first_token_seconds"
        yield from _kind(name, "histogram", "from request to first token")
        for bound in BUCKETS_S:
            yield f'{name}_bucket{{le="{bound}"}} {self._first[bound]}'
        yield f'{name}_bucket{{le="+Inf"}} {self._first_n}'
        yield f"{name}_sum {self._first_s:.6f}"
        yield f"{name}_count {self._first_n}"


def resident_bytes() -> int:
    """Resident memory of this process; its peak where the system does not tell the present value."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_descriptors() -> int:
    """Open descriptors of this process, or 0 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return 0


def _kind(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
