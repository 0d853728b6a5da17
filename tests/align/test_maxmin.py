"""Max-min with hidden groups: who is found, what the game promises, and what the worst group gets in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pareto
from pareto.align import MaxMin
from pareto.align.group_features import HiddenFeatures, projection
from pareto.align.user_groups_job import calibrate
from pareto.errors import UsageError
from pareto.models.user_groups import UserMixture
from pareto.tasks.lab import Lab
from pareto.tasks.lab.groups import exact_max_min
from tests.lab_fixtures import SMALL

USERS = {"groups": 2, "users": 200}
QUICK = {"hidden": 16, "layers": 1, "heads": 2, "corpus": 200, "train": {"steps": 2, "batch_size": 8}}
TRAINING = {"steps": 250, "batch_size": 64, "lr": 3e-3}


def study(method: dict[str, Any], **more: Any) -> dict[str, Any]:
    task = {"kind": "lab", **SMALL, **USERS, "reference": SMALL["reference"].model_dump(mode="json")}
    own = {"beta": 1.0, "adapter": {"kind": "full"}, "training": TRAINING, **method}
    point = {"ref_point": {"helpful": -5.0, "brief": -5.0}}
    return {"study": "groups", "task": task, "method": own, "score": point, **more}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pareto.policy_set.PolicySet:
    method = {"name": "maxmin", "calibration": "tastes", "mass_anchor": 0.1, "draws": 4000}
    return pareto.sweep(study(method), out=tmp_path_factory.mktemp("maxmin") / "run", workers=0)


def test_both_policies_stand_and_say_what_they_serve(run: Any):
    assert [r.facts["served"] for r in run] == ["max_min", "single_reward"]
    assert [r.weights for r in run] == [None, None]
    found = json.loads((run.folder / "policies" / run[0].id / "user_groups.json").read_text())
    np.testing.assert_allclose(found["shares"], [10 / 11, 1 / 11], atol=0.02)
    assert len(found["group_of_user"]) == 200


def test_the_worst_group_gets_nearly_what_the_exact_game_gives_and_the_majority_pays(run: Any):
    """On prompts trained on, by enumeration; the reference's own worst group is the zero."""
    lab, reference = Lab(**SMALL, **USERS), run.folder / run[0].facts["needs"]["reference"]
    prompts = lab.world.split("selection")
    with np.load(reference / "enumerated.npz") as z:
        ref_logps = z["ref_logps"][prompts]
    game = exact_max_min(lab.world, prompts, ref_logps, 1.0)
    from pareto.tasks.lab.groups import group_figures

    own = []
    for record in run:
        logps, _ = lab._enumerate_policy(
            run.folder / "policies" / record.id, prompts, {"reference": reference}
        )
        figures = group_figures(lab.world, prompts, logps, ref_logps)
        own.append([figures[f"group {g}"]["utility"] for g in range(2)])
    start = min(
        f["utility"] - f["gain"] for f in group_figures(lab.world, prompts, ref_logps, ref_logps).values()
    )
    worst, promised = min(own[0]) - start, game.utilities.min() - start
    assert abs(worst - promised) < 0.1 * promised  # 250 steps of a tiny model
    assert min(own[0]) > min(own[1]) + 0.1 * promised
    assert own[0][0] < own[1][0]  # what the majority loses


def test_groups_are_reported_with_intervals(run: Any):
    groups = run[0].facts["groups"]
    assert sorted(groups) == ["group 0", "group 1"]
    for figures in groups.values():
        assert figures["low"] < figures["utility"] < figures["high"]
        assert figures["gain_low"] < figures["gain"] < figures["gain_high"]


def test_the_plan_shares_groups_and_ignores_weights():
    lab = Lab(**SMALL, **USERS)
    cells = MaxMin().plan(lab, [{"helpful": 0.5, "brief": 0.5}] * 3, [0, 1])
    assert [c.role for c in cells] == ["prerequisite", *["prerequisite", "policy", "policy"] * 2]
    assert {c.needs["groups"] for c in cells[2:4]} == {cells[1].id}
    assert cells[1].id != cells[4].id  # another seed leaves out other users


def test_rewards_from_hidden_states_find_the_same_users(tmp_path: Path):
    method = {
        "name": "maxmin",
        "features": {"kind": "hidden", "components": 16},
        "training": {**TRAINING, "steps": 5},
        "draws": 64,
    }
    run = pareto.sweep(study(method), out=tmp_path / "run", workers=0)
    found = json.loads((run.folder / "policies" / run[0].id / "user_groups.json").read_text())
    lab = Lab(**SMALL, **USERS)
    pairs = lab.load_pairs(run.folder / run[0].facts["needs"]["reference"])
    truth = dict(zip(pairs.user.tolist(), pairs.group.tolist()))
    right = np.mean([truth[int(u)] == g for u, g in found["group_of_user"].items()])
    assert right > 0.95
    assert run.content["cost"]["generated_tokens"] > 64


def test_without_users_it_says_what_is_missing(tmp_path: Path):
    config = study({"name": "maxmin"})
    config["task"] |= {"groups": 0, "users": 0, "reference": QUICK}
    with pytest.raises(UsageError, match=r"not which response was preferred overall.*task\.users"):
        pareto.sweep(config, out=tmp_path / "run", workers=0)


def test_calibration_by_hand():
    """Prompt 0 has rewards 0 and 2, prompt 1 has 5 and 9: means 1 and 7, level 4; within variances 1 and 4, unit sqrt 2.5."""
    rewards, prompt = np.array([[0.0], [2.0], [5.0], [9.0]]), np.array([0, 0, 1, 1])
    heads = np.array([[3.0], [-1.0]])  # sizes 3 + 1
    assert [a.tolist() for a in calibrate(rewards, prompt, heads, "tastes")] == [[0.0], [4.0]]
    assert [a.tolist() for a in calibrate(rewards, prompt, heads, "levels")] == [[0.0], [1.0]]
    assert [a.tolist() for a in calibrate(rewards, prompt, heads, "gains")] == [[4.0], [1.0]]
    level, unit = calibrate(rewards, prompt, heads, "z_scores")
    assert (level.tolist(), unit.tolist()) == ([4.0], [pytest.approx(2.5**0.5)])
    assert calibrate(np.ones((4, 1)), prompt, heads, "z_scores")[1].tolist() == [
        1.0
    ]  # a group that is indifferent


def test_principal_components_are_standardised():
    draw = np.random.default_rng(0)
    x = draw.standard_normal((500, 3)) @ np.array([[5.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = x @ projection(x, 8)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(found.shape[1]), atol=1e-8)
    assert found.shape[1] == 2
    assert (x @ projection(x, None)).std(axis=0).tolist() == pytest.approx([1.0, 1.0, 0.0])


def test_hidden_states_have_no_level():
    with pytest.raises(ValueError, match="needs features that are rewards"):
        MaxMin(features=HiddenFeatures(), calibration="levels")


def test_variants_are_configurations():
    assert (
        MaxMin(features=HiddenFeatures(), mixture=UserMixture(assignment="hard", groups=2)).mixture.groups
        == 2
    )
