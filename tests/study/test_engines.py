"""Where cells run changes nothing that a run says: every engine gives the same content, and tells of failures alike."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import MachineError, UsageError
from pareto.study.engines import ENGINES, describe
from pareto.study.run import run_study

FOUND = sorted(
    ENGINES.names()
)  # "inline" (this process), "local" (a pool of processes), and whatever comes later


def _run(make: Any, name: str, folder: Path, *settings: str) -> dict[str, Any]:
    """front.json of a study on the engine called `name`; a config names all engines but "inline", which is zero workers."""
    kind = [] if name == "inline" else [f"engine.kind={name}"]
    run_study(make("weights.n=3", *kind, *settings), folder, workers=0 if name == "inline" else 2)
    return json.loads((folder / "front.json").read_text())


def test_the_two_that_need_nothing_are_there() -> None:
    assert {"inline", "local"} <= set(FOUND)


@pytest.fixture(autouse=True)
def _a_cluster_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would join any cluster of this machine, another test's too, which ends when that test does."""
    monkeypatch.setenv("RAY_ADDRESS", "local")


@pytest.mark.parametrize("name", FOUND)
def test_every_engine_gives_what_this_process_gives(name: str, study: Any, tmp_path: Path) -> None:
    here = _run(study, "inline", tmp_path / "here")
    there = _run(study, name, tmp_path / "there")
    assert there["provenance"]["content_sha256"] == here["provenance"]["content_sha256"]
    assert [p["values"] for p in there["policies"]] == [p["values"] for p in here["policies"]]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "machine"),
        (OSError(errno.EROFS, "Read-only file system"), "machine"),
        (MachineError("the disk is full"), "machine"),
        (
            RuntimeError("I/O error: No space left on device (os error 28)"),
            "machine",
        ),  # as safetensors says it
        (RuntimeError("something else (os error 2)"), "attempt"),
        (OSError(errno.ENOENT, "No such file"), "attempt"),
        (UsageError("wrong"), "input"),
    ],
)
def test_whose_fault_an_error_is(error: Exception, fault: str) -> None:
    found = describe(error, "")
    assert found["fault"] == fault
    assert str(error) in found["message"]
