"""Tiny cells on their way through plan, store and commit: how long the suite itself takes for each."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pareto.cells import Cell, Cost
from pareto.study.config import StudyConfig, load_study
from pareto.study.controller import Controller, Notice
from pareto.study.engines import ENGINES, Event, Setup
from pareto.study.layout import RunFolder
from pareto.study.plan import plan_study
from pareto.study.run import run_study
from pareto.study.scores import scores_bytes
from pareto.study.store import Store
from pareto.tasks.protocol import Scores

FAKES = "tests.study.fakes"


def tiny_study(n: int, engine: str = "local") -> StudyConfig:
    """A study of n cells of a task and a method that cost next to nothing."""
    mapping = {
        "study": "tiny",
        "task": {"kind": "fake", "units": 4},
        "method": {"name": "fake_method", "margins": False},
        "weights": {"n": n},
        "engine": {"device": "cpu", "kind": engine},
    }
    return load_study(mapping, imports=[FAKES])


class Made:
    """An engine whose jobs are done when they come: it puts the files of a finished cell where a worker leaves them.

    A cell here is one policy of one small file, a score file of two splits of four units, one sample, one line of metrics.

    Args:
        setup: what to run and where.
    """

    spent_s = spent_cpu_s = 0.0
    """Time all of them took for writing these files, which is the cells' own."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._run = setup, RunFolder(setup.root)
        self._job: Mapping[str, Any] | None = None
        scores = {split: Scores(np.zeros((4, 2)), np.arange(4).astype(str), split) for split in ("selection", "heldout")}  # fmt: skip
        self._scores = scores_bytes(scores)

    def free(self) -> int:
        return 0 if self._job else 1

    def submit(self, job: Mapping[str, Any]) -> None:
        self._job = job

    def wait(self, timeout_s: float) -> None:
        if self._job is None:
            return
        start, cpu = time.perf_counter(), time.process_time()
        cell = Cell.from_json(self._job["cell"])
        scratch = self._run.scratch(cell.id)
        for name, content in (
            ("fitted/files/policy.json", b"{}"),
            (f"scored/{cell.id}.npz", self._scores),
            (f"scored/{cell.id}.jsonl", b"{}\n"),
            ("metrics.jsonl", b'{"step": 1}\n'),
        ):
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        policy = {"id": cell.id, "folder": ".", "kind": "fake", "files": {"policy.json": "0" * 64}}
        self._job = None
        Made.spent_s += time.perf_counter() - start
        Made.spent_cpu_s += time.process_time() - cpu
        result = {"home": f"policies/{cell.id}", "policies": [policy], "cost": vars(Cost())}
        self._setup.emit(Event("done", cell.id, result))

    def ask_to_stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing to end."""


def through_the_store(n: int, folder: Path) -> dict[str, float]:
    """Plan, claim, report and commit n cells in a store alone."""
    study = tiny_study(n)
    start, cpu = time.perf_counter(), time.process_time()
    plan = plan_study(study)
    with Store(folder / "sweep.db", create=True) as store:
        store.plan(plan.cells)
        planned = time.perf_counter()
        result = {"home": "", "policies": [{"id": "x"}], "cost": vars(Cost())}
        while claim := store.claim("me", 60.0):
            store.report(claim.cell.id, "me", 60.0)
            store.commit(claim.cell.id, "me", result)
    return _figures(
        len(plan.cells), planned - start, time.perf_counter() - planned, time.process_time() - cpu
    )


def through_the_controller(n: int, folder: Path) -> dict[str, float]:
    """Plan n cells, claim them, give their files a place and commit them; the files' own writing is left out."""
    study, run = tiny_study(n), RunFolder(folder)
    ENGINES.register("made", source="tests")(Made)
    try:
        start, cpu = time.perf_counter(), time.process_time()
        plan = plan_study(study)
        Made.spent_s = Made.spent_cpu_s = 0.0
        with Store(run.store, create=True) as store:
            store.plan(plan.cells)
            planned = time.perf_counter()
            options: dict[str, Any] = {"notify": lambda notice: None, "stop": lambda: False}
            with Controller(
                study, run, store, plan, engine="made", workers=1, owner="me", **options
            ) as controller:
                controller.run_cells()
            took, cpu = time.perf_counter() - planned, time.process_time() - cpu
    finally:
        del ENGINES._entries["made"]
    return _figures(len(plan.cells), planned - start, took - Made.spent_s, cpu - Made.spent_cpu_s)


def _figures(n: int, plan_s: float, cells_s: float, cpu_s: float) -> dict[str, float]:
    return {
        "cells": n,
        "plan_s": plan_s,
        "cells_s": cells_s,
        "cpu_s": cpu_s,
        "cells_per_s": n / (plan_s + cells_s),
    }


def through_an_engine(n: int, engine: str, folder: Path) -> dict[str, float]:
    """Run n tiny cells for real, one at a time: seconds per cell between the end of the first and the end of the last."""
    ends: list[float] = []

    def watch(notice: Notice) -> None:
        if notice.kind == "done":
            ends.append(time.perf_counter())

    run_study(tiny_study(n, engine), folder, workers=1, notify=watch)
    return {"cells": len(ends), "s_per_cell": (ends[-1] - ends[0]) / (len(ends) - 1)}


def flush_s(folder: Path, n: int = 100) -> float:
    """Seconds for one flush of a few bytes to this disk."""
    with open(folder / "flushed", "wb") as file:
        start = time.perf_counter()
        for _ in range(n):
            file.write(b"x" * 100)
            file.flush()
            os.fsync(file.fileno())
        return (time.perf_counter() - start) / n
