"""SIGKILL sweeps at random instants, and see that nothing is lost, done twice or different in the end.

One sweep is killed again and again until it is through; then the next one starts in a new folder. Two ways take turns: all
cells in the sweep's own process, which is killed; and a pool of two workers, of which the controller, one worker, or all
are killed. A trigger in the store, which the sweep does not know of, counts how often each cell is committed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from pareto import rng
from pareto.errors import ParetoError
from pareto.state import manifest
from pareto.study.config import StudyConfig, load_study
from pareto.study.run import run_study
from pareto.study.store import Store
from tests.soak.ledger import Ledger

STUDIES = Path(__file__).parent / "studies"
AUDIT = (
    "CREATE TABLE IF NOT EXISTS audit (cell TEXT)",
    """CREATE TRIGGER IF NOT EXISTS audit_commits AFTER UPDATE OF status ON cells
       WHEN NEW.status = 'done' AND OLD.status <> 'done' BEGIN INSERT INTO audit VALUES (NEW.id); END""",
)
MOMENTS = ("starting", "training", "scoring", "between cells", "finishing")
IN_POOL = 6
"""Every so many sweeps one runs in a pool."""


def studies() -> dict[str, StudyConfig]:
    """The tiny studies, by method."""
    return {path.stem: load_study(path) for path in sorted(STUDIES.glob("*.yaml"))}


@dataclass(frozen=True)
class Kills:
    """Kills sweeps of one study.

    Args:
        study: what is swept.
        folder: where run folders and the ledger lie.
        seed: of the instants.
    """

    study: StudyConfig
    folder: Path
    seed: int = 0

    @property
    def ledger(self) -> Ledger:
        """What was done so far."""
        return Ledger(self.folder / "kills.jsonl")

    def run(self, n_kills: int) -> None:
        """Kill until there were so many kills, and see every sweep through to its end."""
        known = {facts["workers"]: facts for facts in self.ledger.events("undisturbed")}
        expected, _ = (known.get(workers) or self._undisturbed(workers) for workers in (0, 2))
        number = sum(1 for _ in self.ledger.events("sweep"))
        while sum(len(sweep["kills"]) for sweep in self.ledger.events("sweep")) < n_kills:
            self._one_sweep(number, expected)
            number += 1

    def _undisturbed(self, workers: int) -> Mapping[str, Any]:
        run = self.folder / "undisturbed"
        shutil.rmtree(run, ignore_errors=True)
        start = time.monotonic()
        _wait(self._start(run, workers))
        facts = {"workers": workers, "sha256": content(run), "seconds": time.monotonic() - start}
        self.ledger.add("undisturbed", **facts)
        shutil.rmtree(run)
        return facts

    def _seconds(self, workers: int) -> float:
        """How long a sweep takes that nobody disturbs: the shortest time seen."""
        seen = [*self.ledger.events("undisturbed"), *self.ledger.events("sweep")]
        return min(e["seconds"] for e in seen if e["workers"] == workers and not e.get("kills"))

    def _one_sweep(self, number: int, expected: Mapping[str, Any]) -> None:
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir(parents=True)
        with Store(run / "sweep.db", create=True):
            pass
        with closing(sqlite3.connect(run / "sweep.db")) as db, db:
            for statement in AUDIT:
                db.execute(statement)
        draw = rng.generator("soak kills", self.study.study, self.seed, number)
        workers = 2 if number % IN_POOL == IN_POOL - 1 else 0
        done: set[str] = set()
        kills: list[dict[str, Any]] = []  # noted with their sweep: a soak that is stopped begins it anew
        while True:
            start = time.monotonic()
            child = self._start(run, workers)
            # early instants are as likely as late ones, whatever the sweep has left to do
            instant = float(draw.uniform(0, self._seconds(workers)) * draw.uniform(0.1, 1.0))
            victim = str(draw.choice(["controller", "worker", "all"])) if workers else "controller"
            ended = _wait(child, instant)
            kill = {"victim": victim, "instant_s": instant}
            if not ended and victim == "worker" and _kill_a_worker(child, int(draw.integers(2))):
                kills.append({**kill, "at": at_work_on(run)})
                ended = _wait(child)  # its cells are tried again by the same sweep
            elif not ended:
                _kill(child, whole=victim == "all")
                before, done = done, done_cells(run)
                facts = {"readable": done is not None, "kept": done is None or before <= done}
                kills.append({**kill, "at": at_work_on(run), **facts})
                done = done or set()
            if ended:
                break
        facts = {"workers": workers, "seconds": time.monotonic() - start, "kills": kills}
        self.ledger.add("sweep", number=number, **facts, **findings(run, expected["sha256"]))

    def _start(self, run: Path, workers: int) -> int:
        """Fork a process that sweeps; its process group is its own, so that workers die with it on request."""
        self.folder.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            os.setpgid(0, 0)
            log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(log, stream)
            run_study(self.study, run, workers=workers)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def content(run: Path) -> str:
    """The digest of everything a run says."""
    return json.loads((run / "front.json").read_text())["provenance"]["content_sha256"]


def done_cells(run: Path) -> set[str] | None:
    """The cells that are done; None where the store cannot be read."""
    try:
        with Store(run / "sweep.db") as store:
            return {row.cell.id for row in store.rows() if row.status == "done"}
    except ParetoError:
        return None


def at_work_on(run: Path) -> str:
    """What a sweep was at, as far as its folder shows: one of `MOMENTS`."""
    try:
        with Store(run / "sweep.db") as store:
            rows = store.rows()
    except ParetoError:
        return "unreadable"
    running = [row.cell.id for row in rows if row.status == "running"]
    if not rows:
        return "starting"
    if running:
        fitted = any((run / "scratch" / cell / "fitted").is_dir() for cell in running)
        return "scoring" if fitted else "training"
    return "finishing" if all(row.status == "done" for row in rows) else "between cells"


def findings(run: Path, expected: str) -> dict[str, Any]:
    """What became of a finished sweep."""
    with Store(run / "sweep.db") as store:
        rows = store.rows()
    with closing(sqlite3.connect(run / "sweep.db")) as db:
        commits = [cell for (cell,) in db.execute("SELECT cell FROM audit")]
    cost = json.loads((run / "front.json").read_text())["cost"]
    return {
        "same": content(run) == expected,
        "problems": len(manifest.verify(run)),
        "lost": sum(row.status != "done" for row in rows),
        "twice": len(commits) - len(set(commits)),
        "uncounted": len({row.cell.id for row in rows} - set(commits)),
        "attempts": sum(row.attempts for row in rows),
        "cells": len(rows),
        "wasted_tokens": cost["wasted_tokens"],
        "wasted_steps": cost["wasted_steps"],
        "lost_s": sum(row.lost_s for row in rows),
    }


def _wait(child: int, seconds: float | None = None) -> bool:
    """Whether a child ended by itself within this time.

    Raises:
        RuntimeError: it failed.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, 0 if deadline is None else os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            if code:
                raise RuntimeError(f"a sweep that nobody killed ended with {code}; see log.txt")
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(0.002)


def _kill(child: int, whole: Literal[True, False]) -> None:
    workers = psutil.Process(child).children(recursive=True)
    if whole:
        os.killpg(child, signal.SIGKILL)
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _, alive = psutil.wait_procs(workers, timeout=30)  # they end by themselves when their controller is gone
    if alive:
        raise RuntimeError(f"{len(alive)} workers outlived their controller")


def _kill_a_worker(child: int, which: int) -> bool:
    """Kill one worker, if there is one that lives."""
    workers = psutil.Process(child).children()
    if not workers:
        return False
    try:
        workers[which % len(workers)].kill()
    except psutil.NoSuchProcess:
        return False
    return True


def summary(ledgers: Mapping[str, Ledger]) -> list[dict[str, Any]]:
    """One row of figures per study.

    Args:
        ledgers: study -> its ledger.
    """
    table = []
    for name, ledger in ledgers.items():
        sweeps: Sequence[Mapping[str, Any]] = list(ledger.events("sweep"))
        kills: Sequence[Mapping[str, Any]] = [kill for sweep in sweeps for kill in sweep["kills"]]
        table.append(
            {
                "study": name,
                "kills": len(kills),
                "of workers alone": sum(k["victim"] == "worker" for k in kills),
                **{f"at {moment}": sum(k["at"] == moment for k in kills) for moment in MOMENTS},
                "sweeps": len(sweeps),
                "unreadable stores": sum(not k.get("readable", True) for k in kills),
                "finished cells forgotten": sum(not k.get("kept", True) for k in kills),
                "cells lost": sum(s["lost"] + s["uncounted"] for s in sweeps),
                "cells committed twice": sum(s["twice"] for s in sweeps),
                "folders with problems": sum(s["problems"] > 0 for s in sweeps),
                "other content": sum(not s["same"] for s in sweeps),
                "attempts": sum(s["attempts"] for s in sweeps),
                "cells": sum(s["cells"] for s in sweeps),
                "wasted tokens": sum(s["wasted_tokens"] for s in sweeps),
                "wasted steps": sum(s["wasted_steps"] for s in sweeps),
                "lost seconds": round(sum(s["lost_s"] for s in sweeps), 1),
            }
        )
    return table
