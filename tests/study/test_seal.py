"""Whatever is changed in the store of a finished sweep is noticed, and a sweep that was killed finds no broken seal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pareto.cli import main
from pareto.errors import ArtifactError
from pareto.study import run as study_run
from pareto.study.seal import is_broken
from pareto.study.store import Store

CHANGES = (
    "UPDATE cells SET lost_s = lost_s + 1",
    "UPDATE cells SET attempts = 7 WHERE position = 2",
    "UPDATE cells SET position = 99 WHERE position = 1",
    "UPDATE facts SET value = '[0.5, 2.0]' WHERE key = 'ref_point'",
    "UPDATE facts SET value = replace(value, '202', '203') WHERE key = 'created'",
    "DELETE FROM cells WHERE position = 2",
    "INSERT INTO facts VALUES ('more', '1')",
    "DROP INDEX cells_by_place",
)


@pytest.fixture
def run(study: Any, tmp_path: Path) -> Path:
    study_run.run_study(study("weights.n=3"), tmp_path / "run", workers=0)
    return tmp_path / "run"


@pytest.mark.parametrize("statement", CHANGES)
def test_every_change_breaks_it(
    study: Any, run: Path, statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(run / "sweep.db")) as db, db:
        assert db.execute(statement).rowcount != 0
    assert main(["verify", str(run)]) == 2
    assert "sweep.db does not hold what it held when the sweep ended" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="restore it from a copy"):
        study_run.run_study(study("weights.n=3"), run, workers=0)


def test_pages_that_contradict_each_other_break_it(run: Path) -> None:
    """The index says that no cell is pending or done; the rows themselves are as they were."""
    with Store(run / "sweep.db") as store:
        (root,) = store._db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'cells_by_place'"
        ).fetchone()
        (size,) = store._db.execute("PRAGMA page_size").fetchone()
    content = bytearray((run / "sweep.db").read_bytes())
    page = slice((root - 1) * size, root * size)
    content[page] = content[page].replace(b"done", b"dune")
    (run / "sweep.db").write_bytes(content)
    with Store(run / "sweep.db") as store:
        assert is_broken(store)


def test_looking_at_a_run_and_running_it_again_leave_it_whole(study: Any, run: Path) -> None:
    assert main(["sweep", str(run / "config.yaml"), "--out", str(run), "--status"]) == 0
    study_run.run_study(study("weights.n=3"), run, workers=0)
    study_run.run_study(study("weights.n=5"), run, workers=0)
    assert main(["verify", str(run)]) == 0


def test_a_sweep_that_dies_leaves_it_open(study: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has another plan already when the process dies: the next sweep must not take that for damage."""

    def dies(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study_run, "clear_finished", dies)
    with pytest.raises(KeyboardInterrupt):
        study_run.run_study(study("weights.n=5"), run, workers=0)
    monkeypatch.undo()
    study_run.run_study(study("weights.n=5"), run, workers=0)
    assert main(["verify", str(run)]) == 0


def test_a_store_that_is_gone_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "sweep.db").unlink()
    assert main(["verify", str(run)]) == 2
    assert "sweep.db is missing, though a sweep made the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cells SET cell = substr(cell, 2) WHERE position = 1",
        "UPDATE cells SET cell = '[1]' WHERE position = 1",
        "UPDATE cells SET cell = replace(cell, 'seed', 'seef') WHERE position = 1",
        "UPDATE cells SET result = substr(result, 1, 40) WHERE position = 1",
        "UPDATE cells SET result = '[]' WHERE position = 1",
        "UPDATE cells SET result = x'ff00' WHERE position = 1",
        "UPDATE cells SET failure = '{' WHERE position = 1",
        "UPDATE cells SET attempts = 'three', lost_s = 'long', wasted_tokens = x'00' WHERE position = 1",
        "UPDATE cells SET status = 'dome' WHERE position = 1",
        "UPDATE facts SET value = '{' WHERE key = 'seal'",
        "UPDATE facts SET value = '{' WHERE key = 'front_sha256'",
        "UPDATE facts SET key = 'seaL' WHERE key = 'seal'",
    ],
)
def test_nonsense_is_told_in_words(
    study: Any, run: Path, statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(run / "sweep.db")) as db, db:
        assert db.execute(statement).rowcount == 1
    assert main(["verify", str(run)]) == 2
    assert "sweep.db" in capsys.readouterr().err
