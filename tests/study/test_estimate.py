"""What a plan will take, beside what it then took."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pareto.cells import Cell, Cost
from pareto.cli._plan import short, total_lines
from pareto.methods import METHODS
from pareto.pricing import TextSizes, env_steps_per_s, examples_seen, policies_of, settings_price
from pareto.study.config import StudyConfig, load_study
from pareto.study.estimate import Estimate, Total, estimate, makespan_s
from pareto.study.plan import plan_study
from pareto.study.rows import Row
from pareto.study.run import run_study
from pareto.study.store import Store
from tests.laws.resuming import OFFLOADING, TINY

SIZES = TextSizes(pairs=100, replies=150, prompt_tokens=4, response_tokens=3)


def stored(folder: Path) -> list[Row]:
    with Store(folder / "sweep.db") as store:
        return store.rows()


def estimated(study: StudyConfig, folder: Path, workers: int = 1) -> tuple[list[Estimate], Total]:
    rows = stored(folder) if (folder / "sweep.db").exists() else []
    return estimate(study, plan_study(study), rows, folder, workers)


def test_examples_by_hand() -> None:
    assert examples_seen({"steps": 5, "epochs": 9.0, "batch_size": 8}, 100) == 40
    # 100 examples are 12 full batches of 8; one and a half epochs of them are 18 steps
    assert examples_seen({"steps": None, "epochs": 1.5, "batch_size": 8}, 100) == 144
    # one batch of all examples there are, where there are fewer than a batch
    assert examples_seen({"steps": None, "epochs": 1.0, "batch_size": 64}, 10) == 10
    assert examples_seen({"steps": 3, "batch_size": 64}, 10) == 30


def test_settings_by_hand() -> None:
    training = {"steps": 5, "batch_size": 8}
    # 40 pairs of 4 + 2 * 3 tokens
    assert settings_price({"method": "modpo", "training": training}, SIZES) == Cost(train_tokens=400)
    assert settings_price({"training": training, "share": 0.5}, SIZES) == Cost(train_tokens=200)
    assert settings_price({"method": {"total_steps": 9000}}, None) == Cost(env_steps=9000)
    assert settings_price({"method": {"experience": {"total_steps": 9}}}, None) == Cost(env_steps=9)
    assert settings_price({"method": {"rollouts": {"total_steps": 8}}}, None) == Cost(env_steps=8)
    assert settings_price({"method": "soup", "mixture": "x"}, SIZES) == Cost()


def test_policies_of_a_cell() -> None:
    several = {"weights": [{"a": 1.0}, {"a": 0.0}]}
    assert policies_of(Cell("policy", "method", several), object()) == 2
    assert policies_of(Cell("policy", "method", {}), object()) == 1
    assert policies_of(Cell("prerequisite", "method", several), object()) == 0


def test_the_speed_of_a_method_by_hand() -> None:
    fast, slow = SimpleNamespace(env_steps_per_s=9.0), SimpleNamespace(env_steps_per_s=2.0)
    assert env_steps_per_s(SimpleNamespace(), 5.0) == 5.0
    assert env_steps_per_s(SimpleNamespace(rollouts=fast), 5.0) == 9.0
    assert env_steps_per_s(SimpleNamespace(rollouts=fast, env_steps_per_s=2.0), 5.0) == 2.0
    assert env_steps_per_s(SimpleNamespace(rollouts=None, experience=slow), 5.0) == 2.0


DISPATCHERS = Path(__file__).resolve().parents[2] / "reports" / "agents" / "offloading"
MEASURED = json.loads((DISPATCHERS / "study.json").read_text())["runs"]


@pytest.mark.parametrize("run", MEASURED, ids=[run["study"] for run in MEASURED])
def test_dispatchers_take_about_as_long_as_they_took(run: dict, tmp_path: Path) -> None:
    """The machine of those runs was shared with other work, which alone makes a factor of two.

    At the same speed for all agents, rollouts were said to take five times too long and critics twenty times too short.
    """
    cost = estimated(load_study(DISPATCHERS / run["config"]), tmp_path)[1].cost
    assert cost.env_steps == pytest.approx(run["env_steps"], rel=0.2)  # the last round goes beyond its steps
    assert 1 / 2.5 < cost.wall_s / run["wall_s"] < 2.5


@pytest.mark.parametrize(
    ("workers", "expected_s"),
    [
        (1, 10.0),  # 1 + 4 + 2 + 3
        (2, 6.0),  # first 0; then 1 and 2 side by side until 3 s, when 3 begins beside 1 and ends at 6
        (9, 6.0),  # 3 waits for 2 whatever there is
    ],
)
def test_makespan_by_hand(workers: int, expected_s: float) -> None:
    assert makespan_s([1.0, 4.0, 2.0, 3.0], [[], [0], [0], [2]], workers) == expected_s


def test_tokens_are_those_that_are_then_spent(study: Any, tmp_path: Path) -> None:
    """The reference 7, five policies 120 each and 2 for scoring, which are at most what they are here."""
    made = study()
    cells, total = estimated(made, tmp_path / "run", workers=2)
    assert (total.basis, total.measured) == ("guess", 0)
    front = run_study(made, tmp_path / "run", workers=0).front
    for name in ("train_tokens", "generated_tokens", "env_steps"):
        assert getattr(total.cost, name) == front["cost"][name]
    assert [one.cost.train_tokens for one in cells] == [
        (row.result or {})["cost"]["train_tokens"] for row in stored(tmp_path / "run")
    ]


def test_finished_cells_speak_for_the_rest(study: Any, tmp_path: Path) -> None:
    run_study(study("weights.kind=random", "weights.n=3"), tmp_path / "run", workers=0)
    done = {row.cell.id: (row.result or {})["cost"] for row in stored(tmp_path / "run")}
    policies = [row for row in stored(tmp_path / "run") if row.cell.role == "policy"]
    mean_s = sum(done[row.cell.id]["wall_s"] for row in policies) / len(policies)
    cells, total = estimated(study("weights.kind=random", "weights.n=5"), tmp_path / "run")
    left = [one for one in cells if not one.done]
    assert len(left) == 2
    for one in left:
        assert (one.basis, one.cost.train_tokens, one.cost.generated_tokens) == ("measured", 120, 2)
        assert one.cost.wall_s == pytest.approx(mean_s)
    assert total.elapsed_s == pytest.approx(2 * mean_s)
    sizes = [
        (tmp_path / "run" / part / f"{row.cell.id}{end}").stat().st_size / 1e6
        for row in policies
        for part, end in (
            ("scores", ".npz"),
            ("samples", ".jsonl"),
            ("metrics", ".jsonl"),
            ("policies", "/policy.json"),
        )
    ]
    assert total.disk_mb == pytest.approx(2 * sum(sizes) / len(policies))
    assert [one.cost.wall_s for one in cells if one.done] == [
        done[cell.id]["wall_s"]
        for cell, _ in plan_study(study("weights.kind=random", "weights.n=5")).cells
        if cell.id in done
    ]


def test_a_rate_where_only_other_kinds_are_done(study: Any, tmp_path: Path) -> None:
    """Only the reference is finished: its time over its guess scales every other guess."""
    folder = tmp_path / "run"
    bare, _ = estimated(study(), folder)
    run_study(study(), folder, workers=0)
    rows = [row for row in stored(folder) if row.cell.role == "prerequisite"]
    cells, total = estimate(study(), plan_study(study()), rows, folder, 1)
    slower = cells[0].cost.wall_s / bare[0].cost.wall_s
    assert total.basis == "rate"
    for one, guessed in zip(cells[1:], bare[1:]):
        assert one.cost.wall_s == pytest.approx(slower * guessed.cost.wall_s)


def test_other_methods_of_the_folder_say_nothing_of_agents(tmp_path: Path) -> None:
    """Ten seconds for the cell; 16,000 steps a second for rollouts, whatever critics took for as many in the same folder."""

    def tiny(name: str, settings: dict) -> StudyConfig:
        method = {"name": name, **settings}
        return load_study({"study": "any", "task": OFFLOADING, "method": method, "weights": {"n": 3}})

    critics, rollouts = tiny("gmorl", {"experience": {"total_steps": 32_000}}), tiny("gmorl_rollouts", {"rollouts": {"total_steps": 32_000}})  # fmt: skip
    (slow, _), (fast, _) = plan_study(critics).cells[0], plan_study(rollouts).cells[0]
    took = {"cost": {"env_steps": 32_000, "wall_s": 5_000.0}, "policies": []}
    rows = [Row(slow, "done", 1, None, took, 0, 0, 0.0, None)]
    (one,), _ = estimate(rollouts, plan_study(rollouts), rows, tmp_path, 1)
    assert (one.basis, one.cost.wall_s) == ("guess", 12.0)
    again = [Row(replace(fast, seed=7), "done", 1, None, took, 0, 0, 0.0, None)]
    (one,), _ = estimate(rollouts, plan_study(rollouts), again, tmp_path, 1)
    assert (one.basis, one.cost.wall_s) == ("measured", 5_000.0)


def test_lines_for_people() -> None:
    cost = Cost(train_tokens=1_234_000, env_steps=0, scoring_env_steps=2_000, wall_s=120.0, peak_rss_mb=500.0)
    lines = total_lines(Total(cost, 61.0, 2, 12.3, "measured", 4))
    assert lines == [
        "to do: 1.23M training tokens, 0 generated, 0 environment steps; choosing and scoring at most 2k steps",
        "about 2 min 00 s of work, 1 min 01 s on 2 workers; 0.5 GB of memory a worker, 1.0 GB in all; 12 MB of disk",
        "times, memory and disk: as 4 finished cells of this folder had them",
    ]
    assert [short(n) for n in (950, 12_340, 5_000_000_000)] == ["950", "12.3k", "5G"]


TRAINING = {"steps": 3, "batch_size": 16, "lr": 1e-3}
LAB = {
    "kind": "lab",
    "prompts": 20,
    "heldout": 4,
    "slots": 2,
    "choices": 2,
    "pairs": 200,
    "reference": {
        "hidden": 16,
        "layers": 1,
        "heads": 2,
        "corpus": 200,
        "train": {"steps": 4, "batch_size": 32, "lr": 1e-2},
    },
}


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ({"name": "modpo", "training": TRAINING}, {"n": 3}),
        ({"name": "modpo", "training": TRAINING, "jobs": "one"}, {"n": 3}),
        ({"name": "mah_dpo", "training": {**TRAINING, "steps": None}}, {"n": 2}),
        ({"name": "soup", "training": TRAINING}, {"n": 3}),
        (
            {
                "name": "scalarized_dpo",
                "training": {**TRAINING, "steps": None},
                "procedure": {"kind": "iterative", "rounds": 2, "data": "fresh"},
            },
            {"n": 2},
        ),
    ],
)
def test_lab_tokens_are_exact(method: dict, weights: dict, tmp_path: Path) -> None:
    """All prompts of the lab are equally long, and so are all replies."""
    made = load_study(
        {"study": "tiny", "task": LAB, "method": method, "weights": weights, "engine": {"device": "cpu"}}
    )
    cells, total = estimated(made, tmp_path / "run")
    front = run_study(made, tmp_path / "run", workers=0).front
    assert front["failed"] == []
    assert total.cost.generated_tokens == front["cost"]["generated_tokens"]
    assert [one.cost.train_tokens for one in cells] == [
        (row.result or {})["cost"]["train_tokens"] for row in stored(tmp_path / "run")
    ]


@pytest.mark.parametrize(
    "method",
    [
        {"name": "ppo_scalarized", "total_steps": 2_100, "ppo": {"envs": 4, "steps": 64}},
        {"name": "ppo_conditioned", "total_steps": 900, "ppo": {"envs": 4, "steps": 64}},
        {"name": "pareto_q", "total_steps": 1_001},
    ],
)
def test_environment_steps_are_exact(method: dict, tmp_path: Path) -> None:
    made = load_study(
        {
            "study": "tiny",
            "task": {"kind": "env", "id": "pareto/DeepSeaTreasureConcave-v0", "heldout_episodes": 2},
            "method": method,
            "weights": {"n": 2},
            "engine": {"device": "cpu"},
        }
    )
    _, total = estimated(made, tmp_path / "run")
    cost = run_study(made, tmp_path / "run", workers=0).front["cost"]
    assert total.cost.env_steps == cost["env_steps"]
    assert cost["scoring_env_steps"] > 0
    if method["name"] != "pareto_q":  # which does not know how many policies it will find
        assert total.cost.scoring_env_steps >= cost["scoring_env_steps"]


NEAR = 1.3
"""How far tokens may be off that depend on what is drawn or kept."""


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ({"name": "dpa", "iterations": 1, "draws": 64, "candidates": 2, "training": TRAINING}, "directions"),
        (
            {
                "name": "rewards_in_context",
                "rounds": 1,
                "draws": 64,
                "rehearsal": 50,
                "training": TRAINING,
                "online_training": TRAINING,
            },
            "cells",
        ),
    ],
)
def test_drawn_tokens_are_near(method: dict, kind: str, tmp_path: Path) -> None:
    """An untrained policy's replies run on to the longest length, so that is what the lab's replies have here."""
    method = method | {"sampling": {"max_new_tokens": 3}}
    made = load_study(
        {
            "study": "tiny",
            "task": LAB,
            "method": method,
            "weights": {"kind": kind, "n": 2},
            "engine": {"device": "cpu"},
        }
    )
    _, total = estimated(made, tmp_path / "run")
    front = run_study(made, tmp_path / "run", workers=0).front
    assert front["failed"] == []
    for name in ("train_tokens", "generated_tokens"):
        assert 1 / NEAR < getattr(total.cost, name) / front["cost"][name] < NEAR, name


def test_every_method_says_what_it_will_take(tmp_path: Path) -> None:
    for name in METHODS.names():
        says_what_it_will_take(name, tmp_path)


def says_what_it_will_take(name: str, tmp_path: Path) -> None:
    text = METHODS.get(name).__module__.startswith("pareto.align")
    dispatches = TINY[name][0] is OFFLOADING
    env = "pareto/Offloading-v0" if dispatches else "pareto/DeepSeaTreasureConcave-v0"
    made = load_study(
        {
            "study": "any",
            "task": {"kind": "lab"} if text else {"kind": "env", "id": env},
            "method": {"name": name},
            "weights": {"kind": "directions" if name == "dpa" else "cells", "n": 3},
        }
    )
    _, total = estimated(made, tmp_path)
    cost = total.cost
    assert cost.train_tokens > 100_000 if text else cost.env_steps > 10_000, name
    assert total.elapsed_s > 0, name
