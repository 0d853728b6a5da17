"""A worker process of the local pool: `python -m pareto.study.engines._worker EVENTS_FD`.

It reads one JSON message a line from its standard input (first the set-up, then jobs) and writes events to the file
descriptor it was given. When its standard input ends, its controller is gone, and it exits at once, whatever it is doing.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from pareto.errors import Interrupted
from pareto.study.engines import describe, limit_memory


def main(events_fd: int) -> None:
    """Work until the controller closes the input.

    Args:
        events_fd: file descriptor open for writing.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's Ctrl-C reaches us too; the controller says what to do
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()  # a crash in native code leaves its stack in the log
    os.set_inheritable(events_fd, False)
    from pareto.study.machine import pin_threads
    from pareto.study.work import Reporter, do_job

    reporter = Reporter()
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(messages, reporter), daemon=True).start()
    setup = messages.get()
    pin_threads(setup["threads"])
    limit_memory(setup["memory_gib"])
    study = None
    while True:
        job = messages.get()
        name = job["job"]
        reporter.begin(
            lambda done, total, figures, name=name: _send(
                events_fd, "progress", name, {"done": done, "total": total, "figures": figures}
            )
        )
        try:
            if study is None:
                study, run = _load(setup)
            result = do_job(study, run, job, reporter)
        except Interrupted:
            _send(events_fd, "stopped", name, {})
        except (
            Exception
        ) as error:  # whatever a method or task raises is this job's failure, sent with its traceback
            _send(events_fd, "failed", name, describe(error, traceback.format_exc()))
        else:
            _send(events_fd, "done", name, result)


def _load(setup: dict[str, Any]) -> tuple[Any, Any]:
    from pareto.study.config import load_study
    from pareto.study.layout import RunFolder

    return load_study(setup["study"], imports=setup["imports"]), RunFolder(Path(setup["root"]))


def _listen(messages: queue.SimpleQueue[dict[str, Any]], reporter: Any) -> None:
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "stop" in message:
            reporter.stopped = True
        else:
            messages.put(message)
    os._exit(0)


def _send(fd: int, kind: str, job: str, data: dict[str, Any]) -> None:
    line = json.dumps({"kind": kind, "job": job, "data": data}).encode() + b"\n"
    while line:
        line = line[os.write(fd, line) :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
