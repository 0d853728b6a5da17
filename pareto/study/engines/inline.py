"""Jobs one after the other in this very process: for debugging and for tests."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from pareto.errors import Interrupted
from pareto.study.engines import ENGINES, Event, Setup, describe
from pareto.study.layout import RunFolder
from pareto.study.work import Reporter, do_job


@ENGINES.register("inline", source="this process; what `workers = 0` means")
class Inline:
    """Run each job in the calling process.

    Args:
        setup: what to run and where.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._job: Mapping[str, Any] | None = None
        self._reporter = Reporter()

    def free(self) -> int:
        """One job at a time."""
        return 0 if self._job else 1

    def submit(self, job: Mapping[str, Any]) -> None:
        """Keep the job until `wait`."""
        self._job = job

    def wait(self, timeout_s: float) -> None:
        """Do the job, however long it takes."""
        if self._job is None:
            return
        job, name = self._job, self._job["job"]
        emit = self._setup.emit
        self._reporter.begin(
            lambda done, total, figures: emit(
                Event("progress", name, {"done": done, "total": total, "figures": figures})
            )
        )
        try:
            result = do_job(self._setup.study, RunFolder(self._setup.root), job, self._reporter)
            event = Event("done", name, result)
        except Interrupted:
            event = Event("stopped", name)
        except (
            Exception
        ) as error:  # whatever a method or task raises is this job's failure, kept with its traceback
            event = Event("failed", name, describe(error, traceback.format_exc()))
        self._job = None
        emit(event)

    def ask_to_stop(self) -> None:
        """Raise at the job's next report."""
        self._reporter.stopped = True

    def close(self) -> None:
        """Nothing to end."""
