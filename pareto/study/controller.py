"""The loop of a sweep: claim cells in the store, hand them to the engine, commit what comes back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pareto.cells import Cell
from pareto.errors import Interrupted, MachineError, ParetoError
from pareto.study.commit import clear_scratch, publish_cells
from pareto.study.committed import redo_dependents
from pareto.study.config import StudyConfig
from pareto.study.engines import ENGINES, Engine, Event, Setup
from pareto.study.layout import RunFolder
from pareto.study.plan import Plan
from pareto.study.rows import Claim
from pareto.study.store import Store

LEASE_S = 60.0
HEARTBEAT_S = 1.0
NOTE_S = 0.2
"""What a cell has cost is noted so often while it reports: a kill of the controller leaves no more than this uncounted."""
SETTLE_EVERY_S = 0.5
"""Cells that end within this time after others were committed wait for each other, so that many small ones share a flush."""
GRACE_S = 5.0
"""How long running cells get to reach their next report when a stop is asked for."""


@dataclass(frozen=True)
class Notice:
    """What a sweep tells whoever watches it.

    Args:
        kind: "plan" (data: total, done, workers), then per cell "start", "progress" (done, total, figures), "done",
            "retry" and "failed" (the error), "stopped"; "choosing" when the next weights are, "exact" when the exact front is
            worked out.
        cell: the cell it is about, where it is about one.
        data: the figures.
    """

    kind: Literal["plan", "start", "progress", "done", "retry", "failed", "stopped", "choosing", "exact"]
    cell: Cell | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Running:
    cell: Cell
    told_s: float
    figures: Mapping[str, float] = field(default_factory=dict)
    counted: bool = False


class Controller:
    """Works off the cells of one run.

    Args:
        study: the resolved config.
        run: the run folder, which nobody else sweeps at this time.
        store: its store, with the plan in it.
        plan: the plan.
        engine: registered name of the engine.
        workers: how many jobs at the same time.
        owner: whose claims these are.
        notify: takes the notices.
        stop: asked again and again; once it answers True the sweep ends, resumable.
    """

    def __init__(
        self,
        study: StudyConfig,
        run: RunFolder,
        store: Store,
        plan: Plan,
        *,
        engine: str,
        workers: int,
        owner: str,
        notify: Callable[[Notice], None],
        stop: Callable[[], bool],
    ) -> None:
        self._study, self._run, self._store, self._plan = study, run, store, plan
        self._engine_class: type[Engine] = ENGINES.get(engine)
        self._workers, self._owner, self._notify, self._stop = workers, owner, notify, stop
        self._engine: Engine | None = None
        self._running: dict[str, _Running] = {}
        self._finished: list[tuple[Cell, Mapping[str, Any]]] = []
        self._settled_s = -math.inf
        self._homes = {row.cell.id: row.result["home"] for row in store.rows() if row.result}
        self._exact: Event | None = None
        self._fault: BaseException | None = None

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def follow(self, plan: Plan) -> None:
        """Go on with another plan, which the store holds already."""
        self._plan = plan

    def run_cells(self) -> None:
        """Do every cell that can be done.

        Raises:
            Interrupted: a stop was asked for; running cells were let go.
            MachineError: the disk failed; running cells were let go.
        """
        while self._fault is None:
            self._check_stop()
            while self._free() > 0 and (claim := self._claim()):
                self._submit(claim.cell)
            if self._running:
                self._open().wait(HEARTBEAT_S / 4)
                self._beat()
                if time.monotonic() - self._settled_s >= SETTLE_EVERY_S:
                    self._settle()
            elif self._fault is None:
                return
        self._let_go()
        raise self._fault

    def exact(self, policies: list[dict[str, Any]], ref_point: list[float]) -> Mapping[str, Any]:
        """Have the task's exact block worked out where cells are worked out.

        Returns:
            {"exact": block or None}, with "failure" beside it when that failed.
        """
        self._notify(Notice("exact"))
        self._exact = None
        self._open().submit(
            {
                "job": "exact",
                "kind": "exact",
                "policies": policies,
                "ref_point": ref_point,
                "task_needs": self._folders(self._plan.task_needs),
            }
        )
        while self._exact is None:
            self._check_stop()
            self._open().wait(HEARTBEAT_S / 4)
        if self._exact.kind == "stopped":
            raise Interrupted("stopped while the exact front was worked out; run the same command again")
        return (
            self._exact.data if self._exact.kind == "done" else {"exact": None, "failure": self._exact.data}
        )

    def _open(self) -> Engine:
        if self._engine is None:
            self._engine = self._engine_class(
                Setup(self._study, self._run.root, max(self._workers, 1), self._handle)
            )
        return self._engine

    def _free(self) -> int:
        return max(self._workers, 1) if self._engine is None else self._engine.free()

    def _claim(self) -> Claim | None:
        """A cell that can be done; the finished ones are committed before there seems to be none."""
        found = self._store.claim(self._owner, LEASE_S)
        if found is None and self._finished:
            self._settle()
            found = self._store.claim(self._owner, LEASE_S) if self._fault is None else None
        return found

    def _submit(self, cell: Cell) -> None:
        self._running[cell.id] = _Running(cell, time.monotonic())
        self._notify(Notice("start", cell))
        self._open().submit(
            {
                "job": cell.id,
                "kind": "cell",
                "cell": cell.to_json(),
                "needs": self._folders(cell.needs),
                "task_needs": self._folders(self._plan.task_needs) if cell.role != "prerequisite" else {},
            }
        )

    def _folders(self, needs: Mapping[str, str]) -> dict[str, str]:
        return {name: str(self._run.root / self._homes[cell_id]) for name, cell_id in needs.items()}

    def _handle(self, event: Event) -> None:
        """Take one event of the engine; also called from within a cell's work when it runs in this process."""
        if event.job == "exact":
            self._exact = event if event.kind != "progress" else self._exact
            return
        running = self._running[event.job]
        if event.kind == "progress":
            running.figures = event.data["figures"]
            self._notify(Notice("progress", running.cell, event.data))
            self._tell(running, NOTE_S)
            if self._stop():
                self._open().ask_to_stop()
            return
        self._tell(running, 0.0)
        del self._running[event.job]
        if event.kind == "done":
            self._finished.append((running.cell, event.data))
        elif event.kind == "stopped":
            self._notify(Notice("stopped", running.cell))
        elif event.data["fault"] == "machine":
            self._fault = MachineError(event.data["message"])
        else:
            self._fail(running.cell, event.data)

    def _settle(self) -> None:
        """Give what is finished its place, and commit it."""
        finished, self._finished = self._finished, []
        if not finished:
            return
        try:
            publish_cells(self._run, finished)
            done = self._store.commit_all(self._owner, {cell.id: result for cell, result in finished})
            for cell, result in finished:
                if cell.id in done:
                    self._homes[cell.id] = result["home"]
                    redo_dependents(self._store, cell.id)
                    self._notify(Notice("done", cell, result["cost"]))
            clear_scratch(self._run, [cell for cell, _ in finished if cell.id in done])
        except ParetoError as error:
            self._fault = self._fault or error  # raised by the loop, once running cells were let go
        self._settled_s = time.monotonic()

    def _fail(self, cell: Cell, failure: Mapping[str, Any]) -> None:
        cap = 1 if failure["fault"] == "input" else self._study.engine.max_attempts
        again = self._store.fail(cell.id, self._owner, dict(failure), cap)
        self._notify(Notice("retry" if again else "failed", cell, failure))

    def _beat(self) -> None:
        for running in list(self._running.values()):
            self._tell(running, HEARTBEAT_S)

    def _tell(self, running: _Running, every_s: float) -> None:
        """Extend a cell's lease and note what it has cost so far, at most once in this time.

        The first cost of an attempt is noted at once: it says where the work resumed, and so what was in vain before.
        """
        now = time.monotonic()
        tokens = _count(running.figures, ("tokens", "train_tokens"), ("generated_tokens",))
        steps = _count(running.figures, ("env_steps",), ("selection_env_steps",))
        first = not running.counted and (tokens is not None or steps is not None)
        if now - running.told_s < every_s and not first:
            return
        running.told_s = now
        running.counted |= first
        self._store.report(running.cell.id, self._owner, LEASE_S, tokens=tokens, steps=steps)

    def _check_stop(self) -> None:
        if self._stop():
            self._let_go()
            raise Interrupted("stopped on request; run the same command again to resume")

    def _let_go(self) -> None:
        """Give running cells a moment to end at a report, then free them without blaming them."""
        engine = self._open()
        engine.ask_to_stop()
        deadline = time.monotonic() + GRACE_S
        while self._running and time.monotonic() < deadline:
            engine.wait(0.1)
        self._settle()
        self._store.release(self._owner)


def _count(figures: Mapping[str, float], *names: tuple[str, ...]) -> int | None:
    """Sum over groups of names of the first one that the figures hold; None when they hold none."""
    found = [next((figures[n] for n in group if n in figures), None) for group in names]
    known = [int(f) for f in found if f is not None]
    return sum(known) if known else None
