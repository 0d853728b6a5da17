"""The store: nothing done twice, nothing lost, every loss counted."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pareto.cells import Cell
from pareto.errors import ArtifactError, MachineError
from pareto.study import sql
from pareto.study.store import Store

COST = {
    **dict.fromkeys(("train_tokens", "generated_tokens", "env_steps", "selection_env_steps"), 0),
    **{"scoring_env_steps": 0, "wall_s": 0.0},
}
RESULT = {"home": "prerequisites/x", "policies": [], "cost": COST}


def cells(n: int, role: str = "policy") -> list[tuple[Cell, tuple[str, ...]]]:
    return [(Cell(role, "method", {"i": i}), ()) for i in range(n)]  # type: ignore[arg-type]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock):
    with Store(tmp_path / "s.db", create=True, clock=clock) as store:
        yield store


def claim(store: Store, owner: str = "me", lease_s: float = 10.0) -> Cell:
    found = store.claim(owner, lease_s)
    assert found is not None
    return found.cell


def test_claims_follow_plan_order_and_needs(store: Store) -> None:
    first = Cell("prerequisite", "task", {"i": 0})
    second = Cell("policy", "method", {"i": 1}, {"reference": first.id})
    third = Cell("policy", "method", {"i": 2})
    store.plan([(first, ()), (second, (first.id,)), (third, ())])
    assert claim(store) == first
    assert claim(store) == third  # the second waits
    assert store.claim("me", 10) is None
    assert store.commit(first.id, "me", RESULT)
    assert claim(store) == second


def test_order_of_weights_survives(store: Store) -> None:
    cell = Cell("policy", "method", {}, weights={"z": 0.25, "a": 0.75})
    store.plan([(cell, ())])
    assert list((claim(store).weights or {}).items()) == [("z", 0.25), ("a", 0.75)]


def test_a_cell_is_committed_once_and_by_its_owner(store: Store, clock: Clock) -> None:
    store.plan(cells(1))
    cell = claim(store, "a")
    clock.now += 11  # a went silent
    assert claim(store, "b") == cell
    assert not store.commit(cell.id, "a", RESULT)
    assert not store.report(cell.id, "a", 10)
    assert store.commit(cell.id, "b", RESULT)
    assert not store.commit(cell.id, "b", RESULT)
    assert store.row(cell.id).attempts == 2


def test_nobody_takes_over_from_himself(store: Store, clock: Clock) -> None:
    """The machine slept for an hour: the controller's own workers go on, and it must not start their cells again."""
    store.plan(cells(1))
    cell = claim(store)
    clock.now += 3600
    assert store.claim("me", 10) is None
    assert store.report(cell.id, "me", 10)
    assert store.commit(cell.id, "me", RESULT)


def test_a_report_extends_the_lease(store: Store, clock: Clock) -> None:
    store.plan(cells(1))
    cell = claim(store)
    for _ in range(5):
        clock.now += 9
        assert store.report(cell.id, "me", 10)
        assert store.claim("other", 10) is None


def test_a_clock_that_jumps_back_frees_nothing(store: Store, clock: Clock) -> None:
    store.plan(cells(1))
    cell = claim(store)
    clock.now -= 5000
    assert store.claim("other", 10) is None
    assert store.commit(cell.id, "me", RESULT)
    assert store.row(cell.id).lost_s == 0


def test_failures_up_to_the_cap(store: Store) -> None:
    store.plan(cells(1))
    failure = {"type": "Died", "message": "gone", "traceback": "..."}
    for attempt in (1, 2, 3):
        cell = claim(store)
        assert store.fail(cell.id, "me", failure, max_attempts=3) == (attempt < 3)
    row = store.row(cell.id)
    assert (row.status, row.failure, row.attempts) == ("failed", failure, 3)
    assert store.claim("me", 10) is None
    store.plan(cells(1))  # running again gives it a new chance
    assert claim(store) == cell


def test_released_cells_are_not_blamed(store: Store) -> None:
    store.plan(cells(1))
    for _ in range(10):
        cell = claim(store)
        assert store.release() == [cell.id]
    assert claim(store) == cell
    assert store.release("somebody else") == []


def test_wasted_work_is_what_was_done_twice(store: Store) -> None:
    """Attempt 1 reaches 100 tokens, attempt 2 resumes at 60 and reaches 90, attempt 3 resumes at 80: 40 + 10 wasted."""
    store.plan(cells(1))
    for resumed, reached in ((0, 100), (60, 90), (80, 200)):
        cell = claim(store)
        store.report(cell.id, "me", 10, tokens=resumed)
        store.report(cell.id, "me", 10, tokens=reached, steps=3)
        if reached < 200:
            store.release()
    assert store.commit(cell.id, "me", RESULT)
    row = store.row(cell.id)
    assert row.wasted_tokens == 40 + 10
    assert row.wasted_steps == 3 + 3  # nothing said where the steps went on


def test_an_attempt_that_never_reported_hides_nothing(store: Store) -> None:
    store.plan(cells(1))
    cell = claim(store)
    store.report(cell.id, "me", 10, tokens=100)
    store.release()
    claim(store)
    store.release()  # died before it could say anything
    claim(store)
    store.commit(cell.id, "me", RESULT)
    assert store.row(cell.id).wasted_tokens == 100


def test_all_work_of_a_failed_cell_is_wasted(store: Store) -> None:
    store.plan(cells(1))
    cell = claim(store)
    store.report(cell.id, "me", 10, tokens=70)
    store.fail(cell.id, "me", {}, max_attempts=1)
    assert store.row(cell.id).wasted_tokens == 70


def test_lost_time_is_counted(store: Store, clock: Clock) -> None:
    store.plan(cells(1))
    cell = claim(store)
    clock.now += 4
    store.report(cell.id, "me", 10)
    clock.now += 100  # died some time in here
    claim(store, "you")
    clock.now += 3
    store.report(cell.id, "you", 10)
    store.release()
    assert store.row(cell.id).lost_s == pytest.approx(4 + 3)


def test_plans_may_grow_and_shrink(store: Store) -> None:
    store.plan(cells(2))
    done = claim(store)
    store.commit(done.id, "me", RESULT | {"policies": [{"id": done.id}]})
    store.plan(cells(3))
    assert [row.status for row in store.rows()] == ["done", "pending", "pending"]
    store.plan(cells(3)[1:])
    assert done.id not in [row.cell.id for row in store.rows()]
    assert [row.cell.id for row in store.rows(planned=False)] == [done.id]
    store.plan(cells(1))
    assert store.rows()[0].status == "done"


def test_a_prerequisite_wanted_as_policy_is_done_again(store: Store) -> None:
    store.plan(cells(1, "prerequisite"))
    cell = claim(store)
    store.commit(cell.id, "me", RESULT | {"cost": COST | {"train_tokens": 30, "wall_s": 2.0}})
    store.plan(cells(1, "policy"))
    row = store.row(cell.id)
    assert (row.status, row.cell.role, row.wasted_tokens, row.lost_s) == ("pending", "policy", 30, 2.0)
    claim(store)
    store.commit(cell.id, "me", RESULT | {"policies": [{"id": cell.id}]})
    store.plan(cells(1, "prerequisite"))
    store.plan(cells(1, "policy"))  # it was scored before: stays done
    assert store.row(cell.id).status == "done"


def test_blocked_cells_name_the_failed_one(store: Store) -> None:
    a, b = Cell("prerequisite", "method", {"i": 0}), Cell("prerequisite", "method", {"i": 1})
    c, d = Cell("policy", "method", {"i": 2}), Cell("policy", "method", {"i": 3})
    store.plan([(a, ()), (b, (a.id,)), (c, (b.id,)), (d, ())])
    store.fail(claim(store).id, "me", {}, max_attempts=1)
    assert store.blocked() == {b.id: a.id, c.id: a.id}


def test_a_changed_result_is_noticed(store: Store) -> None:
    store.plan(cells(1))
    cell = claim(store)
    store.commit(cell.id, "me", RESULT)
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE cells SET result = ?", (json.dumps(RESULT | {"home": "policies/y"}),))
    db.close()
    with pytest.raises(ArtifactError, match="sha256"):
        store.row(cell.id)


def test_files_that_are_no_store(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is none"):
        Store(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(ArtifactError, match="not a sweep's store"):
        Store(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ArtifactError, match="version 99"):
        Store(tmp_path / "other.db", create=True)
    with pytest.raises(MachineError, match="cannot be used"):
        Store(tmp_path / "no" / "folder.db", create=True)


def test_facts(store: Store) -> None:
    assert store.get("ref_point") is None
    store.set("ref_point", [0.1, -1.5])
    store.set("ref_point", [0.2, -1.5])
    assert store.get("ref_point") == [0.2, -1.5]


WORKER = """
import os, sys, time
from pareto.study.store import Store
from tests.study.test_store import RESULT
owner = sys.argv[2]
done = 0
doomed = owner.startswith("doomed")
# the second pair lives a while later, so that the leases of the dead have run out and its own never do
with Store(sys.argv[1], clock=lambda: time.time() + (0 if doomed else 100)) as store:
    while True:
        claim = store.claim(owner, 60.0)
        if claim is None:
            if all(row.status == "done" for row in store.rows()):
                break
            time.sleep(0.05)
            continue
        if doomed and done == 20:
            os.kill(os.getpid(), 9)
        if store.commit(claim.cell.id, owner, RESULT):
            print(claim.cell.id, flush=True)
            done += 1
"""


def test_many_processes_do_every_cell_once(tmp_path: Path) -> None:
    """Two pairs of processes, the first of which are killed with a cell in hand: each cell is committed exactly once."""
    n = 80
    with Store(tmp_path / "s.db", create=True) as store:
        store.plan(cells(n))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    committed, codes = [], []
    for pair in (("doomed-1", "doomed-2"), ("a", "b")):
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(tmp_path / "s.db"), owner],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for owner in pair
        ]
        committed += [line for process in processes for line in process.communicate(timeout=60)[0].split()]
        codes += [process.returncode for process in processes]
    assert codes == [-9, -9, 0, 0]
    assert len(committed) == len(set(committed)) == n
    with Store(tmp_path / "s.db") as store:
        assert sum(row.attempts for row in store.rows()) == n + 2  # exactly the orphaned ones twice


def test_thousands_of_cells_are_no_burden(tmp_path: Path) -> None:
    """The claim uses its index: its cost must not grow with the cells that are done or blocked."""
    with Store(tmp_path / "s.db", create=True) as store:
        blocked = Cell("policy", "method", {"never": True})
        store.plan([(cell, (blocked.id,)) for cell, _ in cells(3000)] + [(blocked, ())])
        about = {"owner": "me", "now": 0.0, "until": 1.0}
        plan = [row["detail"] for row in store._db.execute(f"EXPLAIN QUERY PLAN {sql.CLAIM}", about)]
        # free cells and lapsed ones are each looked up by the index, in its order: nothing is scanned, and only these two sorted
        assert (
            sum("SEARCH c USING INDEX cells_by_place (status=? AND position>?)" in line for line in plan) == 2
        )
        assert not any(line.startswith("SCAN c") for line in plan)
        assert sum("USE TEMP B-TREE FOR ORDER BY" in line for line in plan) <= 1
        assert claim(store).id == blocked.id
