"""`pareto sweep` and `pareto score` as a user calls them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pareto.cells import Cell
from pareto.cli import sweep
from pareto.cli._progress import Forecast, Lines, time_text
from pareto.study.controller import Notice
from pareto.study.store import Store
from tests.study.conftest import FAKES, registered_fakes

CONFIG = """# pareto sweep fake.yaml
study: fake
task: {kind: fake}
method: {name: fake_method}
weights: {n: 4}
engine: {device: cpu}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The fakes for one test; nothing flushed; the report, tested elsewhere, only named."""
    import pareto.report

    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(Store, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(pareto.report, "write_report", lambda folder: folder / "report.html")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.yaml").write_text(CONFIG)
    with registered_fakes():
        yield


def call(pareto: Run, *more: object) -> tuple[int, str, str]:
    return pareto("sweep", "fake.yaml", "--import", FAKES, "--workers", 0, *more)


def test_sweep_again_status_plan_and_score(pareto: Run, tmp_path: Path) -> None:
    code, out, _ = call(pareto, "--dry-run")
    assert code == 0
    assert "5 cells, 4 of them policies; 5 to do, 2 at a time, into runs/fake" in out
    # the reference 7, four policies 12 * 10 each and 2 for scoring
    assert "to do: 487 training tokens, 8 generated, 0 environment steps" in out
    assert "guesses for a processor of today" in out
    assert not (tmp_path / "runs").exists()

    code, out, err = call(pareto)
    assert (code, err) == (0, "")
    assert "5 cells, 0 done, 0 at a time" in out
    assert "[5/5] " in out
    assert "4 policies; 5 of 5 cells new" in out
    assert "against ref_point gain=" in out
    assert "optimality 0.900" in out
    assert out.rstrip().endswith("runs/fake/report.html")

    code, out, _ = call(pareto)
    assert code == 0
    assert "4 policies; 0 of 5 cells new" in out
    code, out, _ = call(pareto, "--dry-run")
    assert "4 of them policies; 0 to do" in out
    assert "to do: 487" not in out
    code, out, _ = call(pareto, "--dry-run", "--set", "seeds=[0, 1]")
    assert "to do: 480 training tokens, 8 generated" in out
    assert "as 5 finished cells of this folder had them" in out
    code, out, _ = call(pareto, "--status")
    assert code == 0
    assert "runs/fake: 5 done; complete" in out
    assert "487 training tokens" in out

    code, out, _ = pareto("score", "runs/fake", "--import", FAKES, "--out", "again.json")
    assert code == 0
    assert "0 of 4 policies measured otherwise" in out
    written = json.loads((tmp_path / "again.json").read_text())
    front = json.loads((tmp_path / "runs" / "fake" / "front.json").read_text())
    assert written["policies"] == front["policies"]
    code, out, _ = pareto("verify", "runs/fake")
    assert code == 0


def test_some_cells_failed(pareto: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAIL", "0.25")
    code, out, _ = call(pareto)
    assert code == 1
    assert "gain=0.25,cost=0.75 seed 0 will be tried again: RuntimeError: asked to fail" in out
    assert "3 policies" in out
    code, out, _ = call(pareto, "--status")
    assert "4 done, 1 failed; complete" in out
    assert "RuntimeError: asked to fail" in out


def test_quarantine_is_told(pareto: Run) -> None:
    code, out, _ = call(pareto, "--set", "task.nan_for=1.0")
    assert code == 1
    assert "nan in cost: 1 of 16 heldout units" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "task.unit=3"], "units"),
        (["--set", "method.rate=fast"], "method.rate"),
        (["--set", "weights.kind=cell"], "did you mean 'cells'"),
        (["--set", "weights.n=1"], "weights.n"),
        (["--set", "score.ref_point={gian: 1, cost: 2}"], "did you mean 'gain'"),
        (["--set", "task.bad_build=true"], "rows.jsonl:3: expected an object"),
        (["--import", "no_such_module"], "no_such_module"),
        (["--workers", "-1"], "--workers"),
        (["--max-bad", "200%"], "--max-bad"),
        (["--on-bad", "skip"], "task.on_bad"),
        (["--out", "fake.yaml/run"], "cannot be written"),
        (["--out", "."], "not empty"),
        (["--status"], "expected a sweep's store"),
    ],
)
def test_bad_usage_is_one_clear_message(pareto: Run, tmp_path: Path, arguments: list, expected: str) -> None:
    code, _, err = call(pareto, *arguments)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs" / "fake").exists()


def test_an_engine_whose_package_is_missing(
    pareto: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pareto.study.engines.importlib.util.find_spec", lambda name: None)
    code, _, err = call(pareto, "--engine", "ray", "--workers", "1")
    assert code == 2
    assert "pareto-align[ray]" in err
    assert not (tmp_path / "runs" / "fake").exists()


def test_another_study_in_the_folder(pareto: Run) -> None:
    call(pareto)
    code, _, err = call(pareto, "--set", "task.seed=11")
    assert code == 2
    assert "task.seed was 0, now 11" in err


def test_options_reach_the_workers_by_environment_and_config(monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    sweep.add_arguments(parser)
    args = parser.parse_args(
        ["x.yaml", "--set", "a=1", "--workers", "3", "--on-bad", "skip", "--max-bad", "0.1%"]
    )
    overrides = sweep._overrides(args)
    assert overrides == ["a=1", "engine.workers=3", "task.on_bad=skip", "task.max_bad=0.001"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_in_order_and_resume(pareto: Run, tmp_path: Path, number: int) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "FAKE_DELAY_S": "0.05",
    }
    command = "from pareto.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "sweep", "fake.yaml", "--import", FAKES, "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.readline()  # the plan is made
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "run the same command again to resume" in err
    with Store(tmp_path / "run" / "sweep.db") as store:
        assert {row.status for row in store.rows()} <= {"pending", "done"}
    code, _, _ = call(pareto, "--out", "run")
    assert code == 0


def test_help_and_plan_load_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from pareto.cli import main; "
        f"code = main(['sweep', 'fake.yaml', '--import', '{FAKES}', '--dry-run']); "
        "sys.exit(code or any(m in sys.modules for m in ('torch', 'transformers', 'matplotlib')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, stdout=subprocess.DEVNULL)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cell(i: int) -> Cell:
    return Cell("policy", "method", {"i": i}, weights={"a": 0.5, "b": 0.5})


def test_time_left_is_the_mean_cell_over_the_workers() -> None:
    clock = Clock()
    forecast = Forecast(clock)
    forecast.take(Notice("plan", data={"total": 10, "done": 2, "workers": 2}))
    assert forecast.left_s() is None
    forecast.take(Notice("start", cell(0)))
    forecast.take(Notice("start", cell(1)))
    clock.now = 4.0
    forecast.take(Notice("progress", cell(0), {"done": 50, "total": 100, "figures": {}}))
    assert forecast.left_s() == pytest.approx((8 - 0.5) * 8.0 / 2)  # from the pace: 8 s a cell
    clock.now = 6.0
    forecast.take(Notice("done", cell(0)))
    assert forecast.took_s() == 6.0
    assert forecast.left_s() == pytest.approx(7 * 6.0 / 2)
    forecast.take(Notice("failed", cell(1), {"type": "E", "message": "m"}))
    assert forecast.left_s() == pytest.approx(6 * 6.0 / 2)


def test_a_long_cell_says_where_it_is_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines(Notice("plan", data={"total": 1, "done": 0, "workers": 1}))
    lines(Notice("start", cell(0)))
    for second in range(1, 100):
        clock.now = float(second)
        lines(
            Notice(
                "progress", cell(0), {"done": second, "total": 100, "figures": {"step": 3, "loss": 0.51234}}
            )
        )
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 1 + 3
    assert out[1].endswith("30/100 loss 0.5123")


def test_bars_survive_every_notice() -> None:
    from pareto.cli._progress import Bars

    with Bars() as bars:
        bars(Notice("plan", data={"total": 3, "done": 0, "workers": 2}))
        for i, end in enumerate(("done", "retry", "failed")):
            bars(Notice("start", cell(i)))
            bars(Notice("progress", cell(i), {"done": 1, "total": 2, "figures": {"loss": 1.0}}))
            bars(Notice(end, cell(i), {"type": "E", "message": "[red]m"}))  # type: ignore[arg-type]
        bars(Notice("exact"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (4.21, "4.2 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (59.99, "60.0 s")],
)
def test_time_text(seconds: Any, text: str) -> None:
    assert time_text(seconds) == text
