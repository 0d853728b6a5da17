"""Jobs on the machines of a Ray cluster, without a shared file system: files travel with the jobs.

Only Ray's core tasks are used. The store decides what is done, tried again and counted; Ray carries a job to a machine that
has what a cell asks for and its files back. The controller alone writes the run folder. Checkpoints are sent to it while a
job runs, so that a machine that is lost takes little work with it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pareto import offline, trust
from pareto.cells import digest
from pareto.errors import MachineError
from pareto.state import atomic, manifest
from pareto.study import parcels
from pareto.study.engines import ENGINES, Event, Setup, describe
from pareto.study.engines._remote import UNSENT, Mailbox, work
from pareto.study.layout import RunFolder
from pareto.study.machine import THREAD_VARIABLES

UPLOAD_EVERY_S = 5.0
"""Least time between two uploads of a job's checkpoints."""
ADDRESS = "RAY_ADDRESS"
"""Ray's own variable: which cluster. Without it the one this machine belongs to, or a new one on this machine."""
CARRIED = (
    *offline.HUB_VARIABLES,
    offline.VARIABLE,
    trust.VARIABLE,
)
"""What the command line says by environment must hold on every machine."""


@ENGINES.register("ray", source="core tasks of Ray (Moritz et al., 2018), extra `ray`")
class RayCluster:
    """Run jobs as Ray tasks; one whose machine is lost is reported as dead, and the store tries it again.

    Args:
        setup: what to run, where, and how many at a time.

    Raises:
        MachineError: there is no cluster at the address that `RAY_ADDRESS` names.
    """

    PACKAGE = "ray"

    def __init__(self, setup: Setup) -> None:
        self._setup, self._run = setup, RunFolder(setup.root)
        self._mine = not _ray().is_initialized()
        if self._mine:
            _connect(setup)
        engine = setup.study.engine
        self._options = {
            "num_cpus": engine.threads,
            "num_gpus": _gpus(setup),
            "max_retries": 0,
            **({"memory": int(engine.memory_gib * 2**30)} if engine.memory_gib else {}),
        }
        self._mailbox = _mailbox()
        self._work = _ray().remote(work)
        self._common = _ray().put(_common(setup))
        self._sent: dict[str, list[Any]] = {}
        self._tasks: dict[Any, tuple[str, str]] = {}
        """Ray's reference to a running task -> (name of the attempt, job)."""

    def free(self) -> int:
        """Jobs that may be handed to Ray now; it starts them when their turn comes."""
        return self._setup.workers - len(self._tasks)

    def submit(self, job: Mapping[str, Any]) -> None:
        """Send a job with its files."""
        plain = {k: v for k, v in job.items() if k not in ("needs", "task_needs")}
        needs = {
            kind: {name: self._parcel(folder) for name, folder in job[kind].items()}
            for kind in ("needs", "task_needs")
            if kind in job
        }
        scratch = parcels.pack(self._run.scratch(job["job"]), UNSENT)
        task = f"{job['job']}:{uuid.uuid4().hex[:8]}"
        reference = self._work.options(name=task, **self._options).remote(
            self._common, task, plain, scratch, needs, self._mailbox
        )
        self._tasks[reference] = task, job["job"]

    def wait(self, timeout_s: float) -> None:
        """Emit what machines report within this time.

        Raises:
            MachineError: the cluster is gone.
        """
        self._deliver()
        if not self._tasks:
            return
        ready, _ = _ray().wait(list(self._tasks), timeout=timeout_s)
        if ready:
            self._deliver()  # a job's letters come before its end
        for reference in ready:
            self._end(reference)

    def ask_to_stop(self) -> None:
        """Have every job hear of it at its next report."""
        self._mailbox.stop.remote()

    def close(self) -> None:
        """End the jobs that still run, and the cluster if it was started here."""
        ray = _ray()
        if ray.is_initialized():
            for reference in self._tasks:
                ray.cancel(reference, force=True)
            ray.kill(self._mailbox)
        self._tasks = {}
        if self._mine:
            ray.shutdown()

    def _parcel(self, folder: str) -> list[Any]:
        """[key, reference] of a finished cell's files, which Ray holds from the first use on."""
        if folder not in self._sent:
            parcel = parcels.pack(Path(folder))
            key = digest([folder, manifest.digests(folder)])[:32]
            self._sent[folder] = [key, _ray().put(parcel)]
        return self._sent[folder]

    def _deliver(self) -> None:
        running = dict(self._tasks.values())
        try:
            letters = _ray().get(self._mailbox.take.remote())
        except _ray().exceptions.RayError as error:
            raise MachineError(
                f"the Ray cluster is gone ({_first_line(error)}); run the same command again to go on, on Ray or not"
            ) from error
        for task, kind, content in letters:
            job = running.get(task)
            if job is None:
                continue  # of an attempt that was given up
            if kind == "files":
                parcels.unpack(content, self._run.scratch(job))
            else:
                self._setup.emit(Event("progress", job, content))

    def _end(self, reference: Any) -> None:
        _, job = self._tasks.pop(reference)
        try:
            end = _ray().get(reference)
            if job != "exact":
                parcels.unpack(end["files"], self._run.scratch(job))
            for name, content in end.get("trackers", {}).items():
                _keep(self._run.trackers, name, content)
            event = Event(end["kind"], job, end["data"])
        except _ray().exceptions.RayError as error:
            message = f"its machine or process was lost: {_first_line(error)}"
            lost = {"type": "WorkerDied", "message": message, "traceback": str(error)}
            event = Event("died", job, {**lost, "fault": "attempt", "exit_code": 1})
        except MachineError as error:
            event = Event("failed", job, describe(error, ""))
        self._setup.emit(event)


def _ray() -> Any:
    return importlib.import_module("ray")


def _connect(setup: Setup) -> None:
    """Join a cluster, or start one on this machine; nothing is told to anybody outside it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    joined = {k: v for k, v in quiet.items() if k != "include_dashboard"}
    with _signals_kept():
        try:
            _ray().init(address=os.environ.get(ADDRESS, "auto"), **joined)
        except (ConnectionError, ValueError, RuntimeError) as error:
            if ADDRESS in os.environ:
                raise MachineError(
                    f"there is no Ray cluster at {os.environ[ADDRESS]!r} ({ADDRESS}): {_first_line(error)}"
                ) from error
            cpus = max(setup.workers * setup.study.engine.threads, 1)
            _ray().init(address="local", num_cpus=cpus, **quiet)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; here it means an orderly stop."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _mailbox() -> Any:
    """The mailbox, on this very machine: it must not go with another one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(_ray().get_runtime_context().get_node_id(), soft=False)
    return _ray().remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()


def _common(setup: Setup) -> dict[str, Any]:
    """What is the same for every job of a sweep."""
    engine = setup.study.engine
    study = setup.study.to_json()
    return {
        "id": uuid.uuid4().hex,
        "study": study,
        "imports": list(setup.study.imports),
        "path": [p or os.getcwd() for p in sys.path],
        "environment": {
            **dict.fromkeys(THREAD_VARIABLES, str(engine.threads)),
            **{name: os.environ[name] for name in CARRIED if name in os.environ},
        },
        "memory_gib": engine.memory_gib,
        "upload_every_s": UPLOAD_EVERY_S,
    }


def _gpus(setup: Setup) -> float:
    """Cards per cell: what the config says, else one where the cluster has any and cells may use it."""
    engine = setup.study.engine
    there = _ray().cluster_resources().get("GPU", 0.0)
    return float(engine.device != "cpu" and there > 0) if engine.gpus is None else engine.gpus


def _keep(folder: Path, name: str, content: bytes) -> None:
    if manifest.is_safe(name):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, content)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
