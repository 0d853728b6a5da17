"""`pareto doctor` says what is there and what is missing."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pareto as package
from pareto.cli import doctor


def test_a_healthy_machine(pareto, monkeypatch):
    monkeypatch.delenv("PARETO_DATA", raising=False)
    code, out, _ = pareto("doctor")
    assert code == 0
    assert f"pareto-align     {package.__version__}" in out
    for name in ("torch", "moocore", "threads", "environments", "extra parquet"):
        assert f"  {name}" in out


def test_a_missing_package_is_marked(pareto, monkeypatch):
    true = importlib.metadata.version

    def without_scipy(name):
        if name == "scipy":
            raise importlib.metadata.PackageNotFoundError(name)
        return "0.0.1" if name in ("rich", "pyarrow") else true(name)

    monkeypatch.setattr(importlib.metadata, "version", without_scipy)
    lines = {name: (fact, good) for name, fact, good in doctor._packages()}
    assert lines["scipy"][1] is False
    assert lines["scipy"][0].startswith("missing; needs >=")
    assert lines["rich"][0].startswith("0.0.1; needs >=")
    assert lines["numpy"][1] is True
    extras = {name: (fact, good) for name, fact, good in doctor._extras()}
    assert extras["extra parquet"] == ("without pyarrow; pip install 'pareto-align[parquet]'", True)
    code, out, _ = pareto("doctor")
    assert code == 1
    assert "! scipy" in out


def test_a_data_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("PARETO_DATA", str(tmp_path))
    assert next(doctor._data())[2] is True
    monkeypatch.setenv("PARETO_DATA", str(tmp_path / "absent"))
    assert next(doctor._data())[1:] == (f"{tmp_path / 'absent'} is not a folder", False)


def test_the_package_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "pareto", "doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout
