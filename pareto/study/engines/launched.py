"""Cells one after the other, each trained by all processes that `accelerate launch` or `torchrun` started.

The first process runs the sweep; the others take part in every fit (see `pareto.core.parallel`) and keep nothing. Scores,
samples and files are the first one's alone.
"""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.errors import MachineError
from pareto.study.config import StudyConfig
from pareto.study.engines import ENGINES, Event, Setup
from pareto.study.engines.inline import Inline
from pareto.study.layout import RunFolder
from pareto.study.machine import pin_threads
from pareto.study.work import take_part, trains

if TYPE_CHECKING:
    from pareto.core.parallel import Processes

PATIENCE = timedelta(days=7)
"""How long the others wait while the first process scores."""


def started() -> int:
    """How many processes a launcher started together with this one, itself included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def follows() -> bool:
    """Whether this process only takes part in what the first one runs."""
    return started() > 1 and os.environ.get("RANK", "0") != "0"


@ENGINES.register("launched", source="the processes that `accelerate launch` or `torchrun` started")
class Launched:
    """Run each job in this process and let the others take part in its training.

    After a job that failed or was stopped the processes no longer stand at the same place; the sweep then ends, the launcher
    ends the others, and running it again goes on.

    Args:
        setup: what to run and where.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup, self._agreed = setup, True
        self._processes = _meet(setup.study)
        self._inline = Inline(replace(setup, emit=self._emit))

    def free(self) -> int:
        """One job at a time."""
        return self._inline.free()

    def submit(self, job: Mapping[str, Any]) -> None:
        """Take a job, and call the others to it where something is trained."""
        if trains(RunFolder(self._setup.root), job):
            _tell(self._processes, job)
        self._inline.submit(job)

    def wait(self, timeout_s: float) -> None:
        """Do the job, however long it takes.

        Raises:
            MachineError: it failed, and the other processes wait for what will not come.
        """
        self._inline.wait(timeout_s)
        if not self._agreed:
            raise MachineError(
                "a cell failed or was stopped, and a sweep in several processes ends with it; run the same command again to "
                "go on"
            )

    def ask_to_stop(self) -> None:
        """Raise at the job's next report."""
        self._inline.ask_to_stop()

    def close(self) -> None:
        """Let the others go."""
        if self._agreed:
            _tell(self._processes, None)

    def _emit(self, event: Event) -> None:
        if event.kind in ("failed", "stopped"):
            self._agreed = self._processes.count == 1
        self._setup.emit(event)


def follow(study: StudyConfig) -> None:
    """Take part in the training of every cell of a sweep that the first process runs, until it ends.

    Args:
        study: the same in all processes.
    """
    processes = _meet(study)
    pin_threads(study.engine.threads)
    while True:
        job = json.loads(processes.gather_bytes(b"")[0])
        if job is None:
            return
        with tempfile.TemporaryDirectory(prefix="pareto-follow-") as folder:
            take_part(study, job, Path(folder))


def _meet(study: StudyConfig) -> Processes:
    import torch

    from pareto.core.parallel import Processes, join

    if started() == 1:
        return Processes()
    from accelerate import PartialState

    state = PartialState(cpu=study.engine.device == "cpu", timeout=PATIENCE)
    atexit.register(_part)
    return join("ddp", torch.device(str(state.device)))


def _part() -> None:
    """Leave the group in order: threads of it that outlive the interpreter would abort a process that is done."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _tell(processes: Processes, job: Mapping[str, Any] | None) -> None:
    processes.gather_bytes(json.dumps(None if job is None else dict(job)).encode())
