"""Whatever dies, whenever it dies: running the sweep again gives what an undisturbed one would have given."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.errors import Interrupted
from pareto.state import manifest
from pareto.state.metrics import read_metrics
from pareto.study import run as study_run
from pareto.study.controller import Notice
from pareto.study.plan import plan_study
from pareto.study.store import Store

SWEEP = """
import sys
from pathlib import Path
from pareto.study.run import run_study
from tests.study.conftest import make_study
run_study(make_study(*sys.argv[2:]), Path(sys.argv[1]), notify=lambda notice: print(notice.kind, flush=True))
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


def content(folder: Path) -> str:
    return json.loads((folder / "front.json").read_text())["provenance"]["content_sha256"]


@pytest.fixture
def expected(study: Any, tmp_path: Path) -> str:
    """What an undisturbed sweep gives."""
    study_run.run_study(study(), tmp_path / "undisturbed", workers=0)
    return content(tmp_path / "undisturbed")


def test_any_number_of_workers_gives_the_same(study: Any, tmp_path: Path, expected: str) -> None:
    for workers in (1, 3):
        folder = tmp_path / str(workers)
        study_run.run_study(study(), folder, workers=workers)
        assert content(folder) == expected
        for name in ("policies", "prerequisites", "scores", "samples", "metrics"):
            ours, theirs = manifest.digests(folder / name), manifest.digests(tmp_path / "undisturbed" / name)
            assert ours == theirs
        assert not (folder / "scratch").exists()


def test_killed_at_random_instants(study: Any, tmp_path: Path, expected: str) -> None:
    """SIGKILL to the controller while two workers are at it, again and again on the same folder."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "run"
    kills = 0
    for instant in (*rng.uniform(0.0, 0.8, 5), None):
        process = subprocess.Popen(
            [sys.executable, "-c", SWEEP, str(folder)],
            env=environment(FAKE_DELAY_S="0.02"),
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as output:
            output.readline()  # the plan is made: before that a kill would test python's start
            if instant is not None:
                time.sleep(instant)
                process.kill()
            process.wait()
        kills += process.returncode == -signal.SIGKILL
    assert process.returncode == 0
    assert kills >= 3
    assert content(folder) == expected
    assert manifest.verify(folder) == []
    for row in plan_study(study()).cells:
        if row[0].role == "policy":
            steps = [r["step"] for r in read_metrics(folder / "metrics" / f"{row[0].id}.jsonl")]
            assert steps == list(range(1, 13))
    with Store(folder / "sweep.db") as store:
        assert {row.status for row in store.rows()} == {"done"}


def test_killed_at_every_change_of_the_disk(tmp_path: Path) -> None:
    """Every ninth rename, flush, folder, claim and commit of a small sweep, one after the other."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.study.crash_points", str(tmp_path), "9"],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(points) > 10
    assert {sha256 for _, sha256, _ in points} == {points[0][1]}
    assert [problems for *_, problems in points if problems] == []


def test_a_worker_that_dies_is_replaced(
    study: Any, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cells kill their worker at step 6, the checkpoint is at step 4: 20 tokens each are done twice."""
    doomed = [cell.id for cell, _ in plan_study(study()).cells if cell.role == "policy"][1:3]
    (tmp_path / "die").mkdir()
    for cell in doomed:
        (tmp_path / "die" / cell).touch()
    monkeypatch.setenv("FAKE_DIE", str(tmp_path / "die"))
    notices: list[Notice] = []
    outcome = study_run.run_study(study(), tmp_path / "run", workers=2, notify=notices.append)
    died = [n for n in notices if n.kind == "retry"]
    assert sorted(n.cell.id for n in died if n.cell) == sorted(doomed)
    assert "killed by signal 9 (out of memory?)" in died[0].data["message"]
    assert content(tmp_path / "run") == expected
    assert outcome.front["cost"]["wasted_tokens"] == 2 * 20
    with Store(tmp_path / "run" / "sweep.db") as store:
        assert [store.row(cell).attempts for cell in doomed] == [2, 2]


def test_a_cell_that_always_kills_its_worker_fails_at_the_cap(
    study: Any, fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study("engine.max_attempts=2", "weights.n=3")
    doomed = next(cell.id for cell, _ in plan_study(made).cells if cell.weights == {"gain": 0.5, "cost": 0.5})
    (tmp_path / "die" / doomed).mkdir(parents=True)  # unlinking a folder fails, so ...
    monkeypatch.setenv("FAKE_DIE", str(tmp_path / "die"))
    outcome = study_run.run_study(made, tmp_path / "run", workers=1)
    (failed,) = outcome.front["failed"]
    assert failed["cell"] == doomed  # ... it raises instead of dying, on every attempt
    assert len(outcome.front["policies"]) == 2


def test_workers_end_with_their_controller(tmp_path: Path) -> None:
    """Even one that would not look up from its work for minutes."""
    import psutil

    process = subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(tmp_path / "run")],
        env=environment(FAKE_DELAY_S="300"),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process.stdout as output:
        started = 0
        while started < 2:  # the reference is made, the first policy is at work
            line = output.readline()
            assert line, "the sweep ended early"
            started += line == b"start\n"
        children = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    for worker in alive:
        worker.kill()
    assert children
    assert alive == []


def test_stop_ends_the_pool_and_resumes(
    study: Any, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DELAY_S", "0.02")
    seen: list[Notice] = []
    with pytest.raises(Interrupted):
        study_run.run_study(
            study(),
            tmp_path / "run",
            workers=2,
            notify=seen.append,
            stop=lambda: "progress" in {n.kind for n in seen},
        )
    assert any(n.kind == "stopped" for n in seen)
    with Store(tmp_path / "run" / "sweep.db") as store:
        assert {row.status for row in store.rows()} <= {"pending", "done"}
    study_run.run_study(study(), tmp_path / "run", workers=2)
    assert content(tmp_path / "run") == expected


def test_a_worker_that_cannot_start_is_a_failure_with_its_reason(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    outcome = study_run.run_study(study("engine.max_attempts=1"), tmp_path / "run", workers=1)
    assert "the worker ended with exit code 1" in outcome.front["failed"][0]["why"]
