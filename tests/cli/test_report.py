"""`pareto report` through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.report.synthetic import write_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "demo", n=3, units=16)


def test_one_run(pareto: Command, run: Path) -> None:
    code, out, err = pareto("report", run)
    assert (code, err) == (0, "")
    assert out.startswith("demo: Hypervolume ")
    assert f"report: {run / 'report.html'}" in out
    assert (run / "report.json").exists()


def test_several_runs_with_out(pareto: Command, run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", n=3, units=16, drift=0.8, method="soup")
    code, out, _ = pareto("report", run, other, "--out", tmp_path / "both.html")
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines() if not line.startswith(" ")] == [
        "demo",
        "other",
        "Hypervolume against one reference point",
        "report",
    ]
    assert (tmp_path / "both.csv").exists()


def test_a_requirement_that_holds(pareto: Command, run: Path) -> None:
    assert pareto("report", run, "--require", "hypervolume>=0.1", "--require", "optimality<=1")[0] == 0


def test_a_requirement_that_does_not_hold_leaves_the_report(pareto: Command, run: Path) -> None:
    figure = json.loads((run / "front.json").read_text())["indicators"]["hypervolume"]
    code, _, err = pareto("report", run, "--require", "hypervolume>=100")
    assert code == 4
    assert f"hypervolume is {figure:.10g}" in err
    assert (run / "report.html").exists()


def test_every_run_must_meet_it(pareto: Command, run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", n=3, units=16, drift=0.5, method="soup")
    code, _, err = pareto(
        "report", run, other, "--out", tmp_path / "both.html", "--require", "hypervolume>=1"
    )
    assert code == 4
    assert "other: hypervolume>=1" in err
    assert "demo" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--require", "hypervolume=3"], "a requirement looks like"),
        (["--require", "hypervolme>=3"], "did you mean 'hypervolume'"),
        (["--out", "report.pdf"], "a report is an .html file"),
    ],
)
def test_bad_usage_is_one_clear_message(
    pareto: Command, run: Path, arguments: list[str], message: str
) -> None:
    code, _, err = pareto("report", run, *arguments)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_no_run_folder(pareto: Command, tmp_path: Path) -> None:
    code, _, err = pareto("report", tmp_path / "nowhere")
    assert code == 2
    assert "nowhere" in err


def test_a_folder_made_by_import(pareto: Command, tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    table.write_text("id,reward,cost\np1,1.0,3.0\np2,2.0,5.0\np3,0.5,6.0\n")
    assert (
        pareto("import", table, "--objectives", "reward:max,cost:min", "--out", tmp_path / "imported")[0] == 0
    )
    code, out, err = pareto("report", tmp_path / "imported")
    assert (code, err) == (0, "")
    assert "imported: Hypervolume" in out
    assert "less is better" in (tmp_path / "imported" / "report.html").read_text()
    assert pareto("verify", tmp_path / "imported")[0] == 0  # a report changes nothing in its run


def test_no_torch_is_loaded(run: Path) -> None:
    code = (
        f"import sys; from pareto.cli import main; main(['report', {str(run)!r}]);"
        "sys.exit([m for m in ('torch', 'transformers', 'peft', 'botorch', 'pandas') if m in sys.modules] != [])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
