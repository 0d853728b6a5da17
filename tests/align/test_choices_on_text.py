"""Methods that learn from users' overall choices, on a text task: any causal model, rows with users and a choice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align import GroupDPO, MaxMin, PreferenceOrchestrator
from pareto.core.loop import TrainConfig
from pareto.errors import ObjectiveError, UsageError
from pareto.tasks.lab import Lab, language

FEW = TrainConfig(steps=3, batch_size=16, lr=1e-3)


@pytest.fixture(scope="module")
def rows(small_lab: Lab) -> list[dict[str, Any]]:
    """Twenty users: fifteen choose the shorter reply, five the longer one."""
    draw = np.random.default_rng(0)
    found = []
    while len(found) < 400:
        prompt = language.prompt_text(small_lab.world.prompts[draw.integers(20)])
        a, b = (language.response_text(small_lab.world.responses[draw.integers(27)]) for _ in range(2))
        user = int(draw.integers(20))
        if len(a) != len(b):
            brief = int(np.sign(len(b) - len(a)))
            overall = brief if user < 15 else -brief
            labels = {"brief": brief, "warm": -brief, "overall": overall}
            found.append(
                {"prompt": prompt, "response_a": a, "response_b": b, "preferences": labels, "user": user}
            )
    return found


def fit(method: Any, lab: Lab, reference: Path, rows: Any, out: Path, **task: Any) -> Any:
    model, tokenizer = lab.load_reference(reference, "cpu", "float32")
    return method.fit(
        model,
        tokenizer,
        rows,
        objectives=["brief", "warm"],
        weights=[{"brief": 0.5, "warm": 0.5}],
        out=out,
        task={"choice": "overall", "split": {"selection": 0.15, "heldout": 0.25}, **task},
    )


def test_max_min_finds_users_and_is_measured_group_by_group(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
):
    method = MaxMin(
        features={"kind": "hidden", "components": 8}, mixture={"groups": 2}, draws=40, training=FEW
    )
    run = fit(method, small_lab, lab_reference, rows, tmp_path / "run")
    assert run.objectives.names == ("brief", "warm")  # the choice is no objective
    assert [r.facts["served"] for r in run] == ["max_min", "single_reward"]
    told = json.loads((run.folder / "policies" / run[0].id / "user_groups.json").read_text())
    np.testing.assert_allclose(told["shares"], [0.75, 0.25], atol=0.06)
    groups = run[0].facts["groups"]
    assert sorted(groups) == ["group 0", "group 1"]
    assert (groups["group 0"]["units"], groups["group 1"]["units"]) == (15, 5)
    assert all(0.0 <= g["accuracy"] <= 1.0 for g in groups.values())


def test_group_dpo_with_groups_that_the_data_name(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
):
    named = [{**row, "group": "few" if row["user"] >= 15 else "many"} for row in rows]
    run = fit(GroupDPO(training=FEW), small_lab, lab_reference, named, tmp_path / "run")
    assert len(run[0].facts["group_weights"]) == 2
    assert len(run[0].facts["groups"]) == 2


def test_an_orchestrator_with_a_reward_model(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
):
    reward = {"kind": "pairs", "training": FEW}
    method = PreferenceOrchestrator(reward=reward, network={"steps": 5}, training=FEW)
    run = fit(method, small_lab, lab_reference, rows, tmp_path / "run")
    assert run[0].kind == "orchestrator"
    assert run.steer("auto").generate([rows[0]["prompt"]], max_new_tokens=3)


def test_a_choice_that_is_nowhere_is_named(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
):
    with pytest.raises((ObjectiveError, UsageError), match=r"'overal' is nowhere.*'overall'"):
        fit(MaxMin(training=FEW), small_lab, lab_reference, rows, tmp_path / "run", choice="overal")
