"""A pool of worker processes on this machine. A worker lives for many jobs, because importing torch costs seconds."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pareto.study.engines import ENGINES, Event, Setup
from pareto.study.engines._cards import VISIBLE, cards_here, cards_of
from pareto.study.machine import THREAD_VARIABLES

LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_FSDP")
"""What `accelerate launch` and `torchrun` say of their own processes; a worker trains alone."""
GRACE_S = 10.0
TAIL_BYTES = 2000
"""How much of a dead worker's own output is kept as the reason."""


@ENGINES.register("local", source="processes started afresh, never forked; JSON over pipes, no pickle")
class LocalPool:
    """Run jobs in worker processes; one that dies takes only its job with it and is replaced.

    Args:
        setup: what to run, where, and how many at a time.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._logs = setup.root / "scratch"
        self._logs.mkdir(parents=True, exist_ok=True)

    def free(self) -> int:
        """Workers that are idle or not started yet."""
        return self._setup.workers - sum(worker.job is not None for worker in self._workers)

    def submit(self, job: Mapping[str, Any]) -> None:
        """Hand the job to an idle worker, or to a new one."""
        worker = next((w for w in self._workers if w.job is None), None) or self._start()
        worker.job = job["job"]
        worker.send(job)

    def wait(self, timeout_s: float) -> None:
        """Emit what workers report within this time."""
        if not self._workers:
            return
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            self._read(key.data)
        if not ready:  # a dead worker's own children may hold its pipe open
            for worker in [w for w in self._workers if w.process.poll() is not None]:
                self._bury(worker)

    def ask_to_stop(self) -> None:
        """Tell every worker to end its job at the next report."""
        for worker in self._workers:
            worker.send({"stop": True})

    def close(self) -> None:
        """End all workers; one that does not go by itself is killed."""
        for worker in self._workers:
            worker.close_input()
        for worker in self._workers:
            try:
                worker.process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            os.close(worker.events)
            worker.log.unlink(missing_ok=True)
        self._workers = []
        self._selector.close()

    def _start(self) -> _Worker:
        setup = self._setup
        events, theirs = os.pipe()
        taken = {worker.number for worker in self._workers}
        number = next(i for i in range(setup.workers) if i not in taken)
        log = self._logs / f"worker-{number}.log"
        environment = {k: v for k, v in os.environ.items() if k not in LAUNCHER_VARIABLES} | dict.fromkeys(
            THREAD_VARIABLES, str(setup.study.engine.threads)
        )
        engine = setup.study.engine
        environment |= {
            VISIBLE: ",".join(cards_of(number, engine.gpus, cards_here(), engine.device)),
            "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path),
            "PYTHONHASHSEED": "0",
        }
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pareto.study.engines._worker", str(theirs)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(theirs,),
                env=environment,
            )
        os.close(theirs)
        worker = _Worker(number, process, events, log)
        self._workers.append(worker)
        self._selector.register(events, selectors.EVENT_READ, worker)
        worker.send(
            {
                "study": setup.study.to_json(),
                "imports": list(setup.study.imports),
                "root": str(setup.root),
                "threads": engine.threads,
                "memory_gib": engine.memory_gib,
            }
        )
        return worker

    def _read(self, worker: _Worker) -> None:
        data = os.read(worker.events, 1 << 16)
        if not data:
            self._bury(worker)
        for line in worker.lines(data):
            message = json.loads(line)
            if message["kind"] != "progress":
                worker.job = None
            self._setup.emit(Event(message["kind"], message["job"], message["data"]))

    def _bury(self, worker: _Worker) -> None:
        """Take a dead worker out of the pool and report the job that it took with it."""
        self._workers.remove(worker)
        self._selector.unregister(worker.events)
        os.close(worker.events)
        worker.close_input()
        code = worker.process.wait()
        if worker.job is not None:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            memory = " (out of memory?)" if code == -9 else ""
            tail = worker.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
            error = {"type": "WorkerDied", "message": f"the worker {how}{memory}", "traceback": tail}
            self._setup.emit(Event("died", worker.job, {**error, "fault": "attempt", "exit_code": 1}))


@dataclass
class _Worker:
    """One process, the job it has, and the bytes of an event that is not whole yet."""

    number: int
    process: subprocess.Popen[bytes]
    events: int
    log: Path
    job: str | None = None
    rest: bytes = field(default=b"", repr=False)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message; to a dead worker it goes nowhere, and its death is noticed where events are read."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def lines(self, data: bytes) -> list[bytes]:
        """The whole lines that are there with this data."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        return whole

    def close_input(self) -> None:
        """End the worker's input, at which it exits."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            return
