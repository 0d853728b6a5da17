"""A tiny study of every method, swept undisturbed and killed after the first checkpoint of every cell.

`python -m tests.laws.resuming METHOD FOLDER` prints one JSON object: cell -> what it trained, the cells that were killed, and
what both sweeps gave. The kills are real: the process that just wrote a checkpoint ends, without any cleaning up.

`whole_and_resumed` is the same for a single cell within a test, where the kill is an exception.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto.cells import Cell, Cost, FitContext
from pareto.methods import Method
from pareto.state import manifest
from pareto.state.checkpoint import Checkpoints
from pareto.study.config import load_study
from pareto.study.run import run_study
from pareto.study.store import Store

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "pareto.core.loop",
    "pareto.models.causal",
    "pareto.models.adapters",
)
STEPS = {"steps": 12, "batch_size": 16, "lr": 3e-3, "checkpoint_every": 5, "log_every": 4}
REFERENCE = {"hidden": 16, "layers": 1, "heads": 2, "corpus": 500, "train": STEPS}
LAB = {
    "kind": "lab",
    "prompts": 16,
    "heldout": 4,
    "slots": 3,
    "choices": 3,
    "pairs": 400,
    "reference": REFERENCE,
}
USERS = {**LAB, "pairs": 800, "groups": 2, "users": 40}
SEA = {"kind": "env", "id": "pareto/DeepSeaTreasure-v0", "selection_episodes": 1, "heldout_episodes": 1}
OFFLOADING = {**SEA, "id": "pareto/OffloadingTiny-v0", "gamma": 1.0}

FULL = {"beta": 1.0, "adapter": {"kind": "full"}, "training": STEPS}
LORA = {"beta": 1.0, "adapter": {"kind": "lora", "r": 2, "alpha": 4}, "training": STEPS}
REWARD = {"kind": "values", "adapter": {"kind": "full"}, "training": STEPS}
TOLD = {"draws": 128, "reward": REWARD, "sampling": {"max_new_tokens": 4, "batch_size": 64}, "training": STEPS, "adapter": {"kind": "full"}}  # fmt: skip
PPO = {"envs": 4, "steps": 8, "minibatch": 16, "epochs": 1, "hidden": [4]}
SEARCH = {
    "initial_steps": 2500,
    "total_steps": 5000,
    "ppo": PPO,
    "round_ppo": PPO,
    "episodes": 2,
    "checkpoint_every": 10,
}
DISPATCH = {"experience": {"total_steps": 960, "copies": 16, "updates": 2, "replay": 400, "checkpoint_every": 2}, "sac": {"hidden": 4, "batch": 8}}  # fmt: skip
ROLLOUTS = {"rollouts": {"total_steps": 900, "copies": 8, "states": 4, "updates": 2, "batch": 8, "hidden": 4}}
EVEN = {"kind": "list", "corners": False, "list": [{"helpful": 0.5, "brief": 0.5}]}
THREE = {"kind": "das_dennis", "divisions": 2}

TINY: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]] = {
    "cmorl": (SEA, {**SEARCH, "round_iterations": 4}, THREE),
    "cmorl_released": (SEA, {"total_steps": 6000, "initial_steps": 3000, "max_episode_steps": 30, "evaluate_every": 2, "update_iter": 6, "ppo": PPO, "checkpoint_every": 5}, THREE),
    "distilled": (
        SEA,
        {"teacher": {"name": "ppo_scalarized", "total_steps": 1500, "ppo": PPO, "checkpoint_every": 5}}
        | {"hidden": [4], "episodes": 2, "rounds": 1, "epochs": 1, "max_episode_steps": 30},
        THREE,
    ),
    "dpa": (LAB, {**TOLD, "iterations": 2, "candidates": 2}, {"kind": "directions", "n": 3}),
    "envelope": (
        SEA,
        {"total_steps": 600, "copies": 4, "warmup": 100, "every": 8, "batch": 8, "draws": 2}
        | {"hidden": [4], "renew": 10, "checkpoint_every": 60},
        THREE,
    ),
    "gmorl": (OFFLOADING, DISPATCH, THREE),
    "gmorl_rollouts": (OFFLOADING, ROLLOUTS, THREE),
    "group_dpo": (USERS, {**FULL, "groups": {"kind": "found"}}, EVEN),
    "mah_dpo": (LAB, {**FULL, "heads": {"kind": "low_rank", "r": 2}}, THREE),
    "maxmin": (USERS, {**FULL, "calibration": "tastes", "draws": 500}, EVEN),
    "mod": (LAB, LORA, THREE),
    "modpo": (LAB, LORA, {"kind": "cells", "n": 3}),
    "modpo_conditioned": (LAB, FULL, THREE),
    "orchestrator": ({**LAB, "users": 20, "importance": "planted"}, {**FULL, "target": {"kind": "likelihood"}}, EVEN),
    "pareto_q": (SEA, {"total_steps": 600, "copies": 4, "checkpoint_every": 50}, THREE),
    "pgmorl": (SEA, {"total_steps": 4000, "ppo": PPO, "checkpoint_every": 5}, THREE),
    "ppo_conditioned": (SEA, {"total_steps": 1500, "ppo": PPO, "checkpoint_every": 10}, THREE),
    "ppo_scalarized": (SEA, {"total_steps": 1500, "ppo": PPO, "checkpoint_every": 10}, THREE),
    "rewards_in_context": (
        LAB,
        {**TOLD, "rounds": 1, "rehearsal": 64, "online_training": STEPS},
        THREE,
    ),
    "rollouts_scalarized": (OFFLOADING, ROLLOUTS, THREE),
    "sac_scalarized": (OFFLOADING, DISPATCH, THREE),
    "scalarized_dpo": (LAB, {k: LORA[k] for k in ("adapter", "training")}, THREE),
    "soup": (LAB, LORA, THREE),
}  # fmt: skip
"""Method -> task, settings, weights."""


def study(name: str) -> Any:
    """The tiny study of a method."""
    task, method, weights = TINY[name]
    names = {
        "lab": ("helpful", "brief"),
        SEA["id"]: ("treasure", "time"),
        OFFLOADING["id"]: ("delay", "energy"),
    }
    point = dict.fromkeys(names[task.get("id", task["kind"])], -50.0)
    return load_study(
        {
            "study": name,
            "task": task,
            "method": {"name": name, **method},
            "weights": weights,
            "score": {"ref_point": point},
            "engine": {"device": "cpu"},
        }
    )


def die_at_checkpoints(killed: Path) -> None:
    """End this process when the first checkpoint of a cell is whole; cells are noted in a file, one a line."""
    real = Checkpoints.save

    def save(self: Checkpoints, *args: Any) -> None:
        real(self, *args)
        parts = self.folder.parts
        cell = parts[parts.index("scratch") + 1]
        if cell not in killed.read_text().split():
            with killed.open("a") as file:
                file.write(f"{cell}\n")
            os._exit(9)

    Checkpoints.save = save


def swept(name: str, folder: Path, killed: Path | None) -> int:
    """Sweep in a child; returns its exit code."""
    child = os.fork()
    if child == 0:
        if killed is not None:
            die_at_checkpoints(killed)
        code = 1
        try:
            run_study(study(name), folder, workers=0)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def what(folder: Path) -> dict[str, Any]:
    """All that a run says: its content and every file of its cells."""
    content = json.loads((folder / "front.json").read_text())["provenance"]["content_sha256"]
    rooms = ("policies", "prerequisites", "scores", "samples", "metrics")
    return {"content": content, **{r: manifest.digests(folder / r) for r in rooms if (folder / r).is_dir()}}


class KilledError(Exception):
    """The end of a job that goes on later."""


def whole_and_resumed(
    method: Method, cell: Cell, task: Any, folder: Path, dies_at: int = 3
) -> list[tuple[Cost, dict[str, str]]]:
    """What a cell costs and the digests of all it leaves: trained at one go, then killed once and resumed.

    Args:
        method: whose cell it is.
        cell: to train.
        task: of the study.
        folder: empty.
        dies_at: the step that is reached, but not saved, when it is killed.
    """

    def trained(name: str, killed: bool = False) -> tuple[Cost, dict[str, str]]:
        def progress(done: int, total: int, figures: Mapping[str, float]) -> None:
            if killed and figures.get("step") == dies_at:
                raise KilledError

        own = folder / name
        for place in ("made", "scratch"):
            (own / place).mkdir(parents=True, exist_ok=True)
        cost = method.train(cell, task, FitContext(own / "made", own / "scratch", progress=progress)).cost
        return cost, manifest.digests(own / "made")

    whole = trained("whole")
    try:
        trained("killed", killed=True)
    except KilledError:
        return [whole, trained("killed")]
    raise AssertionError(f"it was over before step {dies_at}")


def main(name: str, folder: Path) -> None:
    killed = folder / "killed"
    killed.touch()
    for package in HEAVY:  # once for all children
        importlib.import_module(package)
    assert swept(name, folder / "whole", None) == 0
    while (code := swept(name, folder / "killed-often", killed)) == 9:
        pass
    assert code == 0
    with Store(folder / "whole" / "sweep.db") as store:
        trained = {
            row.cell.id: row.result["cost"]["train_tokens"] + row.result["cost"]["env_steps"]
            for row in store.rows()
            if row.result
        }
    found = {"trained": trained, "killed": killed.read_text().split()}
    print(json.dumps({**found, "whole": what(folder / "whole"), "resumed": what(folder / "killed-often")}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
