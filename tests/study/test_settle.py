"""Finished cells that end close together are committed together, and none is kept waiting without need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pareto.cells import Cell
from pareto.errors import Interrupted, MachineError
from pareto.state import manifest
from pareto.study import controller
from pareto.study.controller import Notice
from pareto.study.run import run_study
from pareto.study.store import Store


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cells each commit held, with a pause between commits longer than any test."""
    seen: list[int] = []
    real = Store.commit_all

    def commit_all(self: Store, owner: str, results: Any) -> set[str]:
        seen.append(len(results))
        return real(self, owner, results)

    monkeypatch.setattr(Store, "commit_all", commit_all)
    monkeypatch.setattr(controller, "SETTLE_EVERY_S", 1e9)
    return seen


def test_cells_wait_for_each_other_but_not_for_what_needs_them(
    study: Any, tmp_path: Path, batches: list[int]
) -> None:
    """One reference, one corner as margin of four others, which need it and come with it in the plan."""
    run_study(study(), tmp_path / "run", workers=0)
    # the reference is committed at once, since nothing was before; the corner when everything else waits for it;
    # the four others together when there is no more to claim
    assert batches == [1, 1, 4]
    assert manifest.verify(tmp_path / "run") == []
    with Store(tmp_path / "run" / "sweep.db") as store:
        assert [row.status for row in store.rows()] == ["done"] * 6


def test_it_does_not_change_what_comes_out(study: Any, tmp_path: Path, batches: list[int]) -> None:
    def content(name: str) -> str:
        run_study(study(), tmp_path / name, workers=0)
        return json.loads((tmp_path / name / "front.json").read_text())["provenance"]["content_sha256"]

    together = content("together")
    controller.SETTLE_EVERY_S = 0.0
    assert content("each") == together
    assert batches == [1, 1, 4] + [1] * 6


def test_a_stop_commits_what_is_finished(study: Any, tmp_path: Path, batches: list[int]) -> None:
    ended: list[Notice] = []

    def watch(notice: Notice) -> None:
        if notice.kind == "progress" and notice.data["done"] == notice.data["total"]:
            ended.append(notice)

    with pytest.raises(Interrupted):
        run_study(study(), tmp_path / "run", workers=0, notify=watch, stop=lambda: len(ended) >= 4)
    with Store(tmp_path / "run" / "sweep.db") as store:
        done = {row.cell.id for row in store.rows() if row.status == "done"}
    assert {notice.cell.id for notice in ended[:3] if notice.cell} < done
    assert sum(batches) == len(done)


def test_a_disk_that_fails_when_nothing_runs_any_more_is_told(
    study: Any, tmp_path: Path, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = controller.publish_cells, []

    def full(run: Any, finished: list[tuple[Cell, Any]]) -> None:
        calls.append(len(finished))
        if len(finished) == 4:
            raise MachineError("no space left")
        real(run, finished)

    monkeypatch.setattr(controller, "publish_cells", full)
    with pytest.raises(MachineError, match="no space left"):
        run_study(study(), tmp_path / "run", workers=0)
    assert calls == [1, 1, 4]
    monkeypatch.setattr(controller, "publish_cells", real)
    assert run_study(study(), tmp_path / "run", workers=0).n_done == 6


def test_results_are_flushed_and_claims_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "SYNCHRONOUS", "FULL")
    result = {"home": "", "policies": [], "cost": {}}
    with Store(tmp_path / "s.db", create=True) as store:

        def level() -> (
            int
        ):  # 1: the log is not flushed at every change, 2: it is (SQLite's PRAGMA synchronous)
            return store._db.execute("PRAGMA synchronous").fetchone()[0]

        store.plan([(Cell("policy", "method", {"i": i}), ()) for i in range(2)])
        assert level() == 2
        claim = store.claim("me", 10)
        assert claim is not None
        assert level() == 1
        store.commit(claim.cell.id, "me", result)
        assert level() == 2
        store.claim("me", 10)
        store.report(claim.cell.id, "me", 10)
        assert level() == 1
        store.release()
        assert level() == 2
        store.claim("me", 10)
        store.set("fact", 1)
        assert level() == 2
