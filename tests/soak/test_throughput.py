"""What `python tests/soak/throughput.py` measures is what it says: every cell is planned, committed and in its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pareto.study.engines import ENGINES
from pareto.study.store import Store
from tests.soak import passage, throughput
from tests.study.conftest import registered_fakes

N = 12


@pytest.fixture(autouse=True)
def fakes() -> Iterator[Any]:
    with registered_fakes() as module:
        yield module


def done(folder: Path) -> int:
    with Store(folder / "sweep.db") as store:
        return sum(row.status == "done" for row in store.rows())


@pytest.mark.parametrize("through", [passage.through_the_store, passage.through_the_controller])
def test_every_cell_passes(tmp_path: Path, through: Any) -> None:
    found = through(N, tmp_path)
    assert found["cells"] == N + 1  # and the reference they need
    assert done(tmp_path) == N + 1
    assert "made" not in ENGINES.names()


def test_files_have_their_places(tmp_path: Path) -> None:
    passage.through_the_controller(N, tmp_path)
    for room in ("policies", "scores", "samples", "metrics"):
        assert len(list((tmp_path / room).iterdir())) == N + 1
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_page_says_what_was_measured(tmp_path: Path) -> None:
    found = throughput.measure(N, 0, tmp_path)
    throughput.write(tmp_path / "out", found)
    page = (tmp_path / "out" / "throughput.md").read_text()
    assert f"| {N + 1} | {found['store']['plan_s']:.2f} |" in page
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
