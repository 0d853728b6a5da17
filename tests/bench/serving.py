"""A `pareto serve` of its own on a free port of loopback, and a small client, for the programs that load it."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Server:
    """A running server.

    Args:
        port: on 127.0.0.1.
        process: the server's own.

    Attributes:
        model, names: what the run is called, and its objectives; for programs to fill in.
    """

    def __init__(self, port: int, process: subprocess.Popen[str]) -> None:
        self.port, self.process = port, process
        self.model: str = ""
        self.names: list[str] = []
        self._own = threading.local()

    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body); one connection is kept for each thread."""
        for attempt in (0, 1):
            connection = getattr(self._own, "connection", None)
            if connection is None:
                connection = self._own.connection = http.client.HTTPConnection(
                    "127.0.0.1", self.port, timeout=120
                )
            try:
                own = {} if body is None else {"content-type": "application/json"}
                connection.request(method, path, body, own | headers)
                answer = connection.getresponse()
                data = answer.read()
                if answer.will_close:
                    self._own.connection = None
                return answer.status, {k.lower(): v for k, v in answer.getheaders()}, data
            except (http.client.HTTPException, ConnectionError, OSError):
                connection.close()
                self._own.connection = None
                if attempt:
                    raise
        raise AssertionError

    def post(self, path: str, fields: dict[str, Any]) -> tuple[int, Any]:
        """(status, parsed body)."""
        status, _, data = self.send("POST", path, json.dumps(fields).encode())
        return status, json.loads(data)

    def get(self, path: str) -> Any:
        """Parsed body of a GET that must succeed."""
        status, _, data = self.send("GET", path)
        assert status == 200, (path, status)
        return json.loads(data)

    def metric(self, name: str) -> float:
        """A number of /metrics; the sum over labels."""
        text = self.send("GET", "/metrics")[2].decode()
        return sum(
            float(m) for m in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        )


@contextlib.contextmanager
def serving(run: str, *arguments: str) -> Iterator[Server]:
    """Start a server, wait until it answers, stop it at the end; it must stop cleanly."""
    program = "import sys; from pareto.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", run, "--port", "0", "--threads", "1", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield Server(int(found[1]), process)
                break
        else:
            raise RuntimeError("the server did not start")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, process.returncode
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def spread(work: Callable[[Any], Any], items: Sequence[Any], threads: int) -> list[Any]:
    """Work done on all items by some threads, in the items' order."""
    results: list[Any] = [None] * len(items)
    left = iter(range(len(items)))
    lock = threading.Lock()
    faults: list[BaseException] = []

    def one() -> None:
        while not faults:
            with lock:
                i = next(left, None)
            if i is None:
                return
            try:
                results[i] = work(items[i])
            except BaseException as error:
                faults.append(error)

    crew = [threading.Thread(target=one) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if faults:
        raise faults[0]
    return results


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result
