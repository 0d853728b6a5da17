"""Where jobs run: one file an engine. The store decides what is done; an engine only carries jobs to a process and back."""

from __future__ import annotations

import errno
import importlib.util
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pareto.errors import MachineError, MissingPackageError, NumericsError, UsageError
from pareto.registry import Registry
from pareto.state import atomic
from pareto.study.config import StudyConfig


@dataclass(frozen=True)
class Event:
    """Something a job reported.

    Args:
        kind: "progress"; or its end: "done", "failed" (an error), "died" (its process is gone), "stopped" (on request).
        job: id of the job.
        data: done, total and figures; the result; or type, message, traceback and fault of an error.
    """

    kind: Literal["progress", "done", "failed", "died", "stopped"]
    job: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """What an engine needs to know.

    Args:
        study: the resolved config, with the modules to import.
        root: the run folder.
        workers: how many jobs at the same time.
        emit: called with every event, from within `wait`.
    """

    study: StudyConfig
    root: Path
    workers: int
    emit: Callable[[Event], None]


class Engine(Protocol):
    """Runs jobs, several at a time."""

    def __init__(self, setup: Setup) -> None: ...

    def free(self) -> int:
        """How many more jobs can be taken now."""
        ...

    def submit(self, job: Mapping[str, Any]) -> None:
        """Take a job; its "job" is its id."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Emit the events that are there, waiting at most this long for one."""
        ...

    def ask_to_stop(self) -> None:
        """Let running jobs end at their next report."""
        ...

    def close(self) -> None:
        """End all processes, and with them the jobs that still run."""
        ...


ENGINES: Registry[type[Engine]] = Registry("engine", "pareto.study.engines")
"""A class whose package is optional names it in `PACKAGE`, which is also the name of the extra."""


def check_installed(name: str) -> None:
    """Check that what an engine rests on is there.

    Raises:
        MissingPackageError: it is not.
    """
    package = getattr(ENGINES.get(name), "PACKAGE", None)
    if package is not None and importlib.util.find_spec(package) is None:
        raise MissingPackageError(package, package, f"engine {name!r}")


def limit_memory(gib: float | None) -> None:
    """Let this process hold no more memory of its own than this; what asks for more gets a `MemoryError`.

    What counts is private and writable (Linux); shared pages, mapped files and the memory of graphics cards do not.

    Args:
        gib: the limit; None lifts it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if gib is None else int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (soft if hard < 0 else min(soft, hard), hard))


def describe(error: BaseException, trace: str) -> dict[str, Any]:
    """An error as JSON values.

    `fault` says what to do about it: "input" (the same error will come again), "machine" (stop the sweep), "attempt" (worth
    another try).
    """
    message = str(error) or type(error).__name__
    read_only = isinstance(error, OSError) and error.errno == errno.EROFS
    if isinstance(error, MachineError) or read_only:
        fault = "machine"
    elif atomic.is_disk_fault(error):
        fault, message = (
            "machine",
            f"the disk failed: {message}; free some space, then run the same command again",
        )
    elif isinstance(error, UsageError | MissingPackageError | NumericsError):
        fault = "input"
    else:
        fault = "attempt"
    return {
        "type": type(error).__name__,
        "message": message,
        "traceback": trace,
        "fault": fault,
        "exit_code": getattr(error, "exit_code", 1),
    }
