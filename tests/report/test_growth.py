"""Hypervolume against cost: which policies a budget pays for, and what they reach."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.report import Report, build, read_run
from pareto.report.growth import first, growth, job_of, jobs, spent, within
from pareto.report.tree import RunReport
from tests.report.synthetic import write_run


def plain(front: dict[str, Any]) -> None:
    """Two seeds of three policies with values that are easy to multiply, 60 tokens in all."""
    values = [(1.0, 4.0), (2.0, 3.0), (4.0, 1.0), (1.0, 2.0), (2.0, 1.0), (0.5, 0.5)]
    front["policies"] = front["policies"][:6]
    for i, (policy, (a, b)) in enumerate(zip(front["policies"], values)):
        policy |= {"values": {"helpful": a, "brief": b}, "seed": i // 3, "ci95": None}
    front |= {"ref_point": [0.0, 0.0], "exact": None, "cost": {**front["cost"], "train_tokens": 60}}


@pytest.fixture
def run(report: Callable[..., Report]) -> RunReport:
    return report("plain growth", edit=plain).runs[0]


def test_jobs_are_paid_in_the_order_in_which_they_were_planned(run: RunReport) -> None:
    assert jobs(run.policies) == [[[0], [1], [2]], [[3], [4], [5]]]
    assert spent(run, "train_tokens").tolist() == [
        20.0,
        40.0,
        60.0,
    ]  # nothing is known of single jobs: all alike
    made = growth(run, None, np.zeros(2))
    assert made is not None
    # one seed reaches 1x4 = 4, then + 1x3 = 7, then + 2x1 = 9; the other 2, 3, 3: their means
    assert [step.hypervolume for step in made.steps] == [3.0, 5.0, 6.0]
    assert [step.policies for step in made.steps] == [2, 4, 6]
    assert (made.cost_unit, made.costs) == ("train_tokens", [20.0, 40.0, 60.0])


@pytest.mark.parametrize(
    ("budget", "held"), [(60.0, (6, 6.0)), (59.0, (4, 5.0)), (40.0, (4, 5.0)), (19.0, None)]
)
def test_a_budget_pays_for_whole_jobs_only(run: RunReport, budget: float, held: Any) -> None:
    found = within(run, None, np.zeros(2), "train_tokens", budget)
    assert (found and (found.policies, found.hypervolume)) == held


def test_known_costs_come_after_what_all_jobs_share(run: RunReport) -> None:
    costs = [1.0, 2.0, 4.0, 8.0, 16.0, 9.0]
    rows = [replace(p, cost=c, cost_unit="train_tokens") for p, c in zip(run.policies, costs)]
    known = replace(run, policies=rows)
    assert spent(known, "train_tokens").tolist() == [
        20 + 9,
        20 + 27,
        60,
    ]  # 60 - 40 were spent before the first job
    assert spent(known, "wall_s")[-1] == pytest.approx(run.cost["wall_s"])  # another unit: all alike again
    # logs that claim more than the whole run cost are not believed
    assert spent(replace(known, cost={"train_tokens": 30}), "train_tokens").tolist() == [10.0, 20.0, 30.0]


def test_a_set_that_one_job_made_cannot_be_had_in_parts(run: RunReport) -> None:
    rows = [replace(p, id=f"0123456789ab-{i}", seed=0) for i, p in enumerate(run.policies)]
    whole = replace(run, policies=rows)
    assert job_of("0123456789ab-3") == "0123456789ab"
    assert job_of("anything-3") == "anything-3"
    assert jobs(rows) == [[[0, 1, 2, 3, 4, 5]]]
    assert first(jobs(rows), 1) == [[0, 1, 2, 3, 4, 5]]
    assert growth(whole, None, np.zeros(2)) is None
    assert within(whole, None, np.zeros(2), "train_tokens", 59.0) is None


def test_the_band_holds_the_curve_and_ends_at_the_whole(report: Callable[..., Report]) -> None:
    made = report("ordinary").runs[0]
    assert made.growth is not None
    for step in made.growth.steps:
        assert step.ci95 is not None
        assert step.ci95[0] <= step.hypervolume <= step.ci95[1]
    assert made.growth.steps[-1].hypervolume == pytest.approx(made.indicators["hypervolume"], rel=1e-9)
    assert made.growth.costs[-1] == made.cost["train_tokens"]


def test_what_a_job_cost_is_read_from_its_log(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "logged", n=4, units=16)
    ids = [p["id"] for p in json.loads((folder / "front.json").read_text())["policies"]]
    logs = folder / "metrics"
    logs.mkdir()
    (logs / f"{ids[0]}.jsonl").write_text('{"step": 1, "tokens": 10}\n{"step": 2, "tokens": 25}\n')
    (logs / f"{ids[1]}.jsonl").write_text('{"step": 1, "env_steps": 7}\n')
    (logs / f"{ids[2]}.jsonl").write_text('{"step": 1, "tokens": 10}\n{"torn')
    (logs / f"{ids[3]}.jsonl").write_text('{"step": 1, "loss": 0.5, "tokens": null}\n')
    (folder / "manifest.json").unlink()  # it knows no logs
    rows = build([read_run(folder)]).runs[0].policies
    assert [(p.cost, p.cost_unit) for p in rows] == [(25.0, "train_tokens"), (7.0, "env_steps"), (None, None), (None, None)]  # fmt: skip
