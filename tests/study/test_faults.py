"""What machines and people do to a running sweep, short of killing it: a second sweep, a dead owner, a clock that jumps, a stop
that a worker does not hear."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pareto.errors import Interrupted
from pareto.state import manifest
from pareto.study import controller as controller_module
from pareto.study import run as study_run
from pareto.study.controller import Notice
from pareto.study.layout import RunFolder
from pareto.study.plan import plan_study
from pareto.study.status import sweep_status
from pareto.study.store import Store
from pareto.study.work import Reporter, do_job
from tests.study.test_crash import SWEEP, content, environment


@pytest.fixture
def expected(study: Any, tmp_path: Path) -> str:
    """What an undisturbed sweep gives."""
    study_run.run_study(study(), tmp_path / "undisturbed", workers=0)
    return content(tmp_path / "undisturbed")


def sweep_process(folder: Path, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(folder)],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_sweeps_on_one_folder(tmp_path: Path, expected: str) -> None:
    """The second process is told who is at work, and the first one does not notice it."""
    folder = tmp_path / "run"
    with sweep_process(folder, FAKE_DELAY_S="0.1") as first:
        assert first.stdout is not None
        while first.stdout.readline() != "start\n":  # a cell is at work
            assert first.poll() is None
        with sweep_process(folder) as second:
            _, told = second.communicate(timeout=60)
        assert first.poll() is None
        first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (
        0,
        1,
    )  # of a script; the command line makes the second a 2
    assert f"another sweep is at work in {folder} (process {first.pid} on" in told
    assert content(folder) == expected
    with Store(folder / "sweep.db") as store:
        assert [row.attempts for row in store.rows()] == [1] * 6


def test_the_claims_of_a_dead_sweep_need_no_waiting(study: Any, tmp_path: Path, expected: str) -> None:
    """Its lease runs for years, as after a clock that was wrong, and its lock file names a process that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "run"
    folder.mkdir()
    with Store(folder / "sweep.db", create=True) as store:
        store.plan(plan_study(study()).cells)
        claim = store.claim(f"here:{gone.pid}", 1e9)
    assert claim is not None
    (folder / "sweep.lock").write_text(f"process {gone.pid} on here since 2001-01-01 00:00:00\n")
    assert sweep_status(folder).counts["running"] == 1
    outcome = study_run.run_study(study(), folder, workers=0)
    assert outcome.n_new == 6
    assert content(folder) == expected
    with Store(folder / "sweep.db") as store:
        assert store.row(claim.cell.id).attempts == 2


def test_a_clock_that_jumps_all_the_time(
    study: Any, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days forward and back between any two looks at it: every cell is done once, and no time is below nothing."""
    jumps = itertools.cycle([0.0, 5 * 86_400.0, -3 * 86_400.0, 60.5, -61.0])

    class Jumpy(Store):
        def __init__(self, path: Path, *, create: bool = False) -> None:
            super().__init__(path, create=create, clock=lambda: time.time() + next(jumps))

    monkeypatch.setattr(study_run, "Store", Jumpy)
    monkeypatch.setattr(controller_module, "HEARTBEAT_S", 0.01)
    monkeypatch.setenv("FAKE_DELAY_S", "0.01")
    folder = tmp_path / "run"
    outcome = study_run.run_study(study(), folder, workers=2)
    assert content(folder) == expected
    assert manifest.verify(folder) == []
    assert outcome.front["cost"]["wasted_tokens"] == 0
    assert 0 < outcome.front["cost"]["wall_s"] < 3600
    with Store(folder / "sweep.db") as store:
        rows = store.rows()
    assert [(row.attempts, row.lost_s) for row in rows] == [(1, 0.0)] * 6


def test_a_worker_that_does_not_look_up_is_left_behind(
    study: Any, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop waits for the next report for a while only; then the worker goes, and nothing is blamed on its cell."""
    monkeypatch.setenv("FAKE_DELAY_S", "100")
    monkeypatch.setattr(controller_module, "GRACE_S", 0.3)
    folder, seen = tmp_path / "run", list[Notice]()
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(Interrupted):
        study_run.run_study(
            study(),
            folder,
            workers=1,
            notify=seen.append,
            stop=lambda: (
                [n.kind for n in seen].count("start") == 2
            ),  # the reference is made, a policy at work
        )
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert alive == []
    with Store(folder / "sweep.db") as store:
        assert {row.status for row in store.rows()} == {"pending", "done"}
        assert {row.failure is None for row in store.rows()} == {True}
    monkeypatch.setenv("FAKE_DELAY_S", "0")
    study_run.run_study(study(), folder, workers=1)
    assert content(folder) == expected


def test_a_leaving_worker_and_its_successor_do_not_write_at_once(study: Any, tmp_path: Path) -> None:
    """A worker whose controller died holds the cell's folder until it is gone; the next one waits for it."""
    made, run = study(), RunFolder(tmp_path)
    cell = plan_study(made).cells[0][0]
    job = {"kind": "cell", "cell": cell.to_json(), "needs": {}, "task_needs": {}}
    scratch = run.scratch(cell.id)
    scratch.mkdir(parents=True)
    done: list[Any] = []
    with open(scratch / "lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        successor = threading.Thread(target=lambda: done.append(do_job(made, run, job, Reporter())))
        successor.start()
        successor.join(timeout=0.3)
        assert not (scratch / "fitted").exists()
        assert done == []
    successor.join(timeout=30)
    assert len(done) == 1
    assert json.loads((scratch / "fitted" / "files" / "reference.json").read_text())["seed"] == 0
    assert os.path.exists(scratch / "lock")
