"""A task and a method without torch, quick and exact, that fail, die and dawdle on request.

What must not be part of a study (when to die, how slow to be) comes from the environment: FAKE_DELAY_S per step, FAKE_DIE
(a folder: each cell whose id is a file name there kills its process once), FAKE_FAIL (weights text that raises), FAKE_GREED
(weights text that asks for 64 GiB), FAKE_CALL (a folder: each cell tries to reach another machine and leaves there what came
of it).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.errors import DataError
from pareto.methods import METHODS
from pareto.objectives import Objective, Objectives
from pareto.rng import generator
from pareto.state import atomic
from pareto.tasks import TASKS
from pareto.tasks.protocol import Scores

STEPS = 12
TOKENS_PER_STEP = 10


def truth(weight: float) -> np.ndarray:
    """[2] the true value vector (gain, cost) of the policy trained for a weight on gain: a quarter circle."""
    angle = weight * np.pi / 2
    return np.array([np.sin(angle), 1.0 - np.cos(angle)])


def call_outside() -> str:
    """What became of an attempt to reach another machine, without waiting for an answer; 192.0.2.1 is nobody's (RFC 5737)."""
    with socket.socket() as caller:
        caller.setblocking(False)
        try:
            caller.connect_ex(("192.0.2.1", 9))
        except OSError as error:
            return type(error).__name__
    return "let through"


@TASKS.register("fake", source="tests")
class FakeTask(Config):
    """Two objectives, gain (max) and cost (min), on a quarter circle."""

    kind: str = "fake"
    seed: int = 0
    units: int = 16
    nan_for: float | None = None
    bad_build: bool = False

    @property
    def objectives(self) -> Objectives:
        return Objectives([Objective("gain"), Objective("cost", "min", "s")])

    def prerequisites(self) -> Mapping[str, Cell]:
        return {"reference": Cell("prerequisite", "task", {"fake": "reference", "seed": self.seed})}

    def price(self, cell: Cell) -> Cost:
        return Cost(train_tokens=7)

    def score_price(self) -> Cost:
        return Cost(generated_tokens=2)  # one for each split

    def build(self, name: str, cell: Cell, context: FitContext) -> Fitted:
        if self.bad_build:
            raise DataError("rows.jsonl:3: expected an object; got half a line; correct the row")
        atomic.write_json(context.folder / "reference.json", {"name": name, "seed": self.seed})
        return Fitted(cost=Cost(train_tokens=7))

    def score(
        self,
        policy: Path,
        kind: str,
        weights: Mapping[str, float] | None,
        split: str,
        needs: Mapping[str, Path],
    ) -> Scores:
        assert json.loads((needs["reference"] / "reference.json").read_text())["seed"] == self.seed
        content = json.loads((policy / "policy.json").read_text())
        # the noise of a unit is the same for every policy, as that of a prompt is
        noise = generator("fake", self.seed, split).normal(0, 0.05, (self.units, 2))
        values = truth(content["weight"]) + noise + 0.001 * content["total"]
        if self.nan_for is not None and abs(content["weight"] - self.nan_for) < 1e-9:
            values[3, 1] = np.nan
        return Scores(
            values,
            np.array([f"{split}-{i}" for i in range(self.units)]),
            split,
            {
                "kl_nats": content["weight"],
                "optimality" if split == "selection" else "optimality_heldout": 0.9,
            },
            Cost(generated_tokens=1),
        )

    def samples(
        self, policy: Path, kind: str, needs: Mapping[str, Path], n: int
    ) -> Sequence[Mapping[str, Any]]:
        return [{"prompt": f"p{i}", "response": (policy / "policy.json").read_text()} for i in range(n)]

    def exact(
        self, policies: Sequence[Mapping[str, Any]], ref_point: np.ndarray, needs: Mapping[str, Path]
    ) -> Mapping[str, Any] | None:
        assert (needs["reference"] / "reference.json").is_file()
        front = np.array([truth(w) for w in np.linspace(0, 1, 5)])
        return {"source": "closed form", "front": front, "optimality": np.float64(0.9), "n": len(policies)}


@METHODS.register("fake_method", source="tests")
class FakeMethod(Config):
    """Learns a weight by adding up random numbers, step by step, with checkpoints."""

    name: str = "fake_method"
    rate: float = 1.0
    margins: bool = True

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> Sequence[Cell]:
        reference = {name: cell.id for name, cell in task.prerequisites().items()}
        cells = []
        for seed in seeds:
            corner = Cell("prerequisite", "method", self._spec(), reference, {"gain": 1.0, "cost": 0.0}, seed)
            if self.margins:
                cells.append(corner)
            for w in weights:
                own = Cell("policy", "method", self._spec(), reference, w, seed)
                needs = (
                    {**reference, "margin": corner.id} if self.margins and own.id != corner.id else reference
                )
                cells.append(Cell("policy", "method", self._spec(), needs, w, seed))
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        return Cost(train_tokens=round(STEPS * cell.spec.get("share", 1.0)) * TOKENS_PER_STEP)

    def restarted(self, cell: Cell, start: str | None, share: float) -> Cell:
        needs = cell.needs if start is None else {**cell.needs, "start": start}
        return replace(cell, spec={**cell.spec, "share": share}, needs=needs)

    def _spec(self) -> dict[str, Any]:
        return {"method": "fake_method", "rate": self.rate}

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        assert cell.weights is not None
        if "margin" in cell.needs:
            assert (context.needs["margin"] / "policy.json").is_file()
        if os.environ.get("FAKE_FAIL") == f"{cell.weights['gain']:.4g}":
            raise RuntimeError("asked to fail")
        if os.environ.get("FAKE_GREED") == f"{cell.weights['gain']:.4g}":
            bytearray(64 << 30)
        if "FAKE_CALL" in os.environ:
            (Path(os.environ["FAKE_CALL"]) / cell.id).write_text(call_outside())
        checkpoint = context.scratch / "state.json"
        die = Path(os.environ.get("FAKE_DIE", "/nonexistent")) / cell.id
        # a doomed cell is slow enough for each of its reports to be sent
        delay_s = 0.25 if die.exists() else float(os.environ.get("FAKE_DELAY_S", "0"))
        steps = round(STEPS * cell.spec.get("share", 1.0))
        step, total = 0, 0.0
        if "start" in cell.needs:
            total = json.loads((context.needs["start"] / "policy.json").read_text())["total"]
        if checkpoint.exists():
            step, total = json.loads(checkpoint.read_text())
        context.progress(step, steps, {"tokens": step * TOKENS_PER_STEP})
        while step < steps:
            time.sleep(delay_s)
            total += float(generator("fake", cell.seed, cell.weights["gain"], step).normal())
            step += 1
            context.log({"step": step, "total": total})
            context.progress(step, steps, {"tokens": step * TOKENS_PER_STEP, "total": total})
            if step % 4 == 0:
                atomic.write_json(checkpoint, [step, total])
            if step == 6 and die.exists():
                die.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        weight = cell.weights["gain"]
        atomic.write_json(context.folder / "policy.json", {"weight": weight, "total": total})
        policy = PolicyFiles(cell.id, "fake", context.folder, cell.weights, extra={"groups": None})
        return Fitted((policy,), Cost(train_tokens=steps * TOKENS_PER_STEP))
