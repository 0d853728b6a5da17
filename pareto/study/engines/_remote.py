"""What happens on the machine that Ray chose for a job: files come in, the job is done in a folder of its own, files go back.

Nothing here is read from or written to the run folder, which lies on another machine.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pareto import offline
from pareto.errors import Interrupted
from pareto.state import manifest
from pareto.study import parcels
from pareto.study.engines import describe, limit_memory
from pareto.study.parcels import Parcel

UNSENT = ("lock",)
"""Of a cell's scratch folder what has no meaning elsewhere."""


class Mailbox:
    """Letters from the machines to the controller, and its wish to stop the other way. Ray makes an actor of it."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, str, Any]] = []
        self._stopped = False

    def post(self, task: str, kind: str, content: Any) -> bool:
        """Leave a letter; returns whether a stop is asked for."""
        self._letters.append((task, kind, content))
        return self._stopped

    def take(self) -> list[tuple[str, str, Any]]:
        """All letters since the last time, in order."""
        letters, self._letters = self._letters, []
        return letters

    def stop(self) -> None:
        """Ask every job to end at its next report."""
        self._stopped = True


def work(
    setup: Mapping[str, Any],
    task: str,
    job: Mapping[str, Any],
    scratch: Parcel,
    needs: Mapping[str, Mapping[str, list[Any]]],
    mailbox: Any,
) -> dict[str, Any]:
    """Do one job and return its end: kind, data, and the files it made.

    Args:
        setup: study, imports, path, environment and figures that are the same for every job.
        task: name of this attempt, which marks its letters.
        job: as for `do_job`, without paths.
        scratch: what attempts before left, checkpoints among it.
        needs: "needs" and "task_needs" -> name -> [Ray's reference to a parcel].
        mailbox: handle of the `Mailbox` actor.
    """
    from pareto.study.layout import RunFolder
    from pareto.study.work import Reporter, do_job

    _prepare(setup)
    run = RunFolder(Path(tempfile.mkdtemp(prefix="pareto-")))
    own = run.scratch(job["job"])
    reporter = Reporter()
    line = _Line(mailbox, task, own / "checkpoints", setup["upload_every_s"], reporter)
    try:
        parcels.unpack(scratch, own)
        line.seen = parcels.stamps(own / "checkpoints")
        folders = {
            kind: {name: str(_folder(*ref)) for name, ref in refs.items()} for kind, refs in needs.items()
        }
        reporter.begin(line.progress)
        result = do_job(_study(setup["id"], setup), run, {**job, **folders}, reporter)
        made = parcels.pack(own, (*UNSENT, "checkpoints"))
        return {"kind": "done", "data": result, "files": made, "trackers": parcels.pack(run.trackers)}
    except Interrupted:
        return {"kind": "stopped", "data": {}, "files": parcels.pack(own, UNSENT)}
    except (
        Exception
    ) as error:  # whatever a method or task raises is this job's failure, sent with its traceback
        return {
            "kind": "failed",
            "data": describe(error, traceback.format_exc()),
            "files": parcels.pack(own, UNSENT),
        }
    finally:
        line.finish()
        shutil.rmtree(run.root, ignore_errors=True)


class _Line:
    """One job's letters to the controller: progress at once, checkpoints when there are new ones."""

    def __init__(
        self, mailbox: Any, task: str, checkpoints: Path, upload_every_s: float, reporter: Any
    ) -> None:
        self._mailbox, self._task, self._checkpoints, self._reporter = mailbox, task, checkpoints, reporter
        self._upload_every_s = upload_every_s
        self._sent_s = -1e9
        self._answer: Any = None
        self._upload: Any = None
        self.seen: frozenset[Any] = frozenset()

    def progress(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        self._listen()
        self._upload_checkpoints()
        letter = {"done": done, "total": total, "figures": dict(figures)}
        self._answer = self._mailbox.post.remote(self._task, "progress", letter)

    def finish(self) -> None:
        """See the last letter delivered before the job's end is."""
        import ray

        if self._answer is not None:
            ray.wait([self._answer], timeout=5.0)

    def _listen(self) -> None:
        import ray

        if self._answer is not None and ray.wait([self._answer], timeout=0)[0]:
            self._reporter.stopped |= ray.get(self._answer)

    def _upload_checkpoints(self) -> None:
        """Send the cell's scratch folder when its checkpoints changed: the next attempt may be elsewhere."""
        import ray

        now = time.monotonic()
        if now - self._sent_s < self._upload_every_s:
            return
        if self._upload is not None and not ray.wait([self._upload], timeout=0)[0]:
            return  # the last one is still on its way
        stamps = parcels.stamps(self._checkpoints)
        if stamps != self.seen:
            self._sent_s, self.seen = now, stamps
            self._upload = self._mailbox.post.remote(
                self._task, "files", parcels.pack(self._checkpoints.parent, UNSENT)
            )


def _prepare(setup: Mapping[str, Any]) -> None:
    """What a worker process of the local pool is started with; a process that Ray started gets it here."""
    os.environ.update(setup["environment"])
    sys.path += [path for path in setup["path"] if path not in sys.path and os.path.isdir(path)]
    offline.heed()
    limit_memory(setup["memory_gib"])


@cache
def _loader() -> dict[str, Any]:
    return {}


def _study(key: str, setup: Mapping[str, Any]) -> Any:
    """The study of a sweep, read once in each process."""
    from pareto.study.config import load_study

    known = _loader()
    if key not in known:
        known[key] = load_study(setup["study"], imports=setup["imports"])
    return known[key]


@cache
def _unpacked() -> tuple[tempfile.TemporaryDirectory[str], dict[str, Path]]:
    return tempfile.TemporaryDirectory(prefix="pareto-needs-"), {}


def _folder(key: str, reference: Any) -> Path:
    """A finished cell's folder on this machine; a process unpacks each one once."""
    import ray

    home, known = _unpacked()
    if key not in known:
        folder = Path(home.name) / key
        parcels.unpack(ray.get(reference), folder)
        manifest.names(folder)  # plain files only
        known[key] = folder
    return known[key]


Work = Callable[..., dict[str, Any]]
