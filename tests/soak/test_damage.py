"""The short form of `python tests/soak/damage.py`, and the harms themselves by hand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from tests.soak import harm
from tests.soak.damage import harm_all, make
from tests.soak.harm import KINDS, Harm, Whole
from tests.soak.judging import matters
from tests.soak.ledger import Ledger


@pytest.mark.slow
def test_harm_is_noticed(tmp_path: Path) -> None:
    whole = make("gmorl", tmp_path)
    ledger = Ledger(tmp_path / "harms.jsonl")
    harm_all(whole, ledger, "gmorl", 60)
    found = list(ledger.events("harm"))
    assert [one for one in found if one["fault"]] == []
    assert {one["kind"] for one in found if one["matters"]} == set(KINDS)
    assert {one["load"] for one in found} == {"refused", "the same"}


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    for name, text in (("run", "new"), ("older", "old")):
        (tmp_path / name / "scores").mkdir(parents=True)
        (tmp_path / name / "front.json").write_text(f"{text} front")
        (tmp_path / name / "report.html").write_text("page")
        for score in "ab":
            (tmp_path / name / "scores" / f"{score}.npz").write_text(f"scores of {score}")
    return Whole.read(tmp_path / "run", tmp_path / "older")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_harm_changes_what_it_says_and_is_undone(whole: Whole, kind: str) -> None:
    for seed in range(30):
        done = KINDS[kind](whole, np.random.default_rng(seed))
        now = harm.contents(whole.root)
        changed = {n for n in {*now, *whole.files} if now.get(n) != whole.files.get(n)}
        assert changed == set(done.files)
        whole.restore()
        assert harm.contents(whole.root) == whole.files


def test_bytes_that_a_store_does_not_use_are_no_content(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "sweep.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE cells (id TEXT)")
        db.execute("INSERT INTO cells VALUES ('first')")
    db.close()
    whole, told = Whole.read(tmp_path / "run", tmp_path / "run"), Harm("flip", ("sweep.db",), "")
    content = bytearray(whole.files["sweep.db"])
    content[72] ^= 1  # bytes 72 to 91 of the header are "reserved for expansion" (SQLite's file format, 1.3)
    path.write_bytes(content)
    assert not matters(whole, told)
    whole.restore()
    path.write_bytes(whole.files["sweep.db"].replace(b"first", b"worst"))
    assert matters(whole, told)
    path.unlink()
    assert matters(whole, told)
