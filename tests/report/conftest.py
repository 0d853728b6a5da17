"""Run folders for reports, written once a session; no test writes into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pareto.report import Report, build, read_run
from tests.report.synthetic import write_run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function from a name and `write_run`'s arguments to a run folder; the same name is written once."""
    root = tmp_path_factory.mktemp("runs")

    def make(name: str, **options: object) -> Path:
        path = root / name
        return path if path.exists() else write_run(path, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def report(folder: Callable[..., Path]) -> Callable[..., Report]:
    """A function from a name and `write_run`'s arguments to that run's report."""

    def make(name: str, **options: object) -> Report:
        return build([read_run(folder(name, **options))])

    return make
