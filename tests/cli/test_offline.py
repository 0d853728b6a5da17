"""`--offline`: every command that reads models, data or runs takes it, and heeds it before it does anything."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pareto import offline
from pareto.cli import build_parser, commands
from tests.study.fakes import call_outside

ARGUMENTS = {
    "sweep": ["x.yaml"],
    "report": ["x"],
    "score": ["x"],
    "steer": ["x", "--weights", "a=1"],
    "serve": ["x"],
    "export": ["x", "--weights", "a=1", "--out", "y"],
    "data": ["check", "x.jsonl"],
}
"""The commands that take `--offline`, with what else each must be told."""
PROGRAM = "import sys; from pareto.cli import main; sys.exit(main())"
READ_A_FILE = {"config", "doctor", "hypervolume", "import", "list", "verify"}
"""Commands that load no model and no data of a study; `PARETO_OFFLINE` holds for them, too."""


def test_every_command_takes_it_or_has_no_use_for_it() -> None:
    assert set(commands()) == set(ARGUMENTS) | READ_A_FILE


@pytest.mark.parametrize("name", ARGUMENTS)
def test_it_holds_before_the_command_runs(
    name: str, pareto: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (offline.VARIABLE, *offline.HUB_VARIABLES):
        monkeypatch.setenv(variable, "")
    came: list[str] = []
    monkeypatch.setattr(commands()[name], "run", lambda args: came.append(call_outside()))
    assert pareto(name, *ARGUMENTS[name])[0] == 0
    assert pareto(name, *ARGUMENTS[name], "--offline")[0] == 0
    assert came == ["let through", "OfflineError"]
    assert os.environ[offline.HUB_VARIABLES[0]] == "1"


def test_the_help_says_what_it_does() -> None:
    (group,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name in set(ARGUMENTS) - {"data"}:
        assert "every connection to another machine" in " ".join(group.choices[name].format_help().split())


@pytest.mark.parametrize("flag", [[], ["--offline"]])
def test_a_whole_sweep_in_worker_processes(flag: list[str], tmp_path: Path) -> None:
    """Training, scoring, selection and the report work; a worker that tries to reach out is refused."""
    (tmp_path / "fake.yaml").write_text(
        "study: fake\ntask: {kind: fake}\nmethod: {name: fake_method}\nweights: {n: 3}\nengine: {device: cpu}\n"
    )
    (tmp_path / "calls").mkdir()
    environment = {k: v for k, v in os.environ.items() if k != offline.VARIABLE} | {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "FAKE_CALL": str(tmp_path / "calls"),
    }
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "sweep",
        "fake.yaml",
        "--import",
        "tests.study.fakes",
        "--out",
        "run",
    ]
    done = subprocess.run(
        [*command, *flag], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").is_file()
    came = [path.read_text() for path in (tmp_path / "calls").iterdir()]
    assert came == (["OfflineError"] if flag else ["let through"]) * 3  # one for each of three weights
