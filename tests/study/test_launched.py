"""A sweep in two processes ends with the policies of a sweep in one; what a launcher starts by mistake is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import pareto
from pareto.errors import ConfigError, MissingPackageError
from pareto.study.engines import launched
from pareto.study.run import run_study, sweep
from tests.study import sweeping

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_train_the_policies_of_one(tmp_path: Path) -> None:
    sweeping.rows(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.study.sweeping", str(tmp_path), "launched"],
            cwd=ROOT,
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    try:
        faults = [process.communicate(timeout=280)[1].decode()[-2000:] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], "\n".join(faults)
    two = pareto.load(tmp_path / "launched")
    one = sweep({**sweeping.study(tmp_path, "local")}, tmp_path / "one", workers=0)
    names = [record.id for record in one]
    assert [record.id for record in two] == names
    for name in names:
        ours, theirs = (
            load_file(run / "policies" / name / "adapter_model.safetensors")
            for run in (tmp_path / "one", tmp_path / "launched")
        )
        assert ours.keys() == theirs.keys()
        for tensor in ours:
            np.testing.assert_allclose(theirs[tensor], ours[tensor], atol=1e-4)


def test_other_engines_are_refused_under_a_launcher(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="started in 2 processes, and engine 'local' runs in one"):
        run_study(study(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_who_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (launched.started(), launched.follows()) == (1, False)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    assert (launched.started(), launched.follows()) == (3, False)
    monkeypatch.setenv("RANK", "2")
    assert launched.follows()


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_written(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="tracker 'wandb'"):
        run_study(study('engine.trackers=["wandb"]'), tmp_path / "run")
    assert not (tmp_path / "run").exists()
