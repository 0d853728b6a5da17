"""The orchestrator as a method: what it learns of prompts, and what policies trained under it are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pareto
from pareto.align import PreferenceOrchestrator
from pareto.models.orchestrator import load_orchestrator
from pareto.tasks.lab import Lab
from tests.lab_fixtures import SMALL

PLANTED = {"users": 5, "importance": "planted"}
EVEN, CORNER = {"helpful": 0.5, "brief": 0.5}, {"helpful": 1.0, "brief": 0.0}


def study(method: dict[str, Any], weights: list[dict[str, float]]) -> dict[str, Any]:
    task = {"kind": "lab", **SMALL, **PLANTED, "reference": SMALL["reference"].model_dump(mode="json")}
    own = {
        "name": "orchestrator",
        "beta": 1.0,
        "adapter": {"kind": "full"},
        "training": {"steps": 100, "batch_size": 64, "lr": 5e-3},
        **method,
    }
    return {
        "study": "prompts",
        "task": task,
        "method": own,
        "weights": {"kind": "list", "corners": False, "list": weights},
        "score": {"ref_point": {"helpful": -5.0, "brief": -5.0}},
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pareto.policy_set.PolicySet:
    folder = tmp_path_factory.mktemp("orchestrator") / "run"
    return pareto.sweep(study({}, [EVEN, CORNER]), out=folder, workers=0)


def test_an_even_prior_serves_each_prompts_own_weights_better_than_one_objective_does(run: Any):
    assert [r.kind for r in run] == ["orchestrator"] * 2
    assert [r.weights for r in run] == [EVEN, CORNER]
    own, corner = (r.facts["groups"]["group 0"]["gain"] for r in run)
    assert own > corner > 0
    assert run[1].facts["mean_prompt_weights"] == [1.0, 0.0]
    assert run[0].facts["trained_beta"] == 1.0
    assert (
        run[0].facts["optimality"] is None
    )  # the optimum at even weights is not what it was trained towards


def test_the_network_lies_beside_the_policy_and_knows_the_prompts(run: Any):
    network, facts = load_orchestrator(run.folder / "policies" / run[0].id)
    assert facts["objectives"] == ["helpful", "brief"]
    assert facts["target"] == "likelihood"
    assert facts["kappa"] == pytest.approx(1.0, abs=0.3)  # the lab's users choose at the scale of the rewards
    lab = Lab(**SMALL, **PLANTED)
    reference = run.folder / run[0].facts["needs"]["reference"]
    from pareto.data.pairs import Ragged
    from pareto.models.hidden_features import prompt_features
    from pareto.tasks.lab import language

    model, tokenizer = lab.load_reference(reference, "cpu", "float32")
    ids = Ragged.of(language.prompt_ids(lab.world, tokenizer))
    error = np.abs(network.weights(prompt_features(model, ids)) - lab.world.importance).mean(axis=1)
    spread = np.abs(lab.world.importance - 0.5).mean(axis=1)
    assert error[: lab.world.n_train].mean() < 0.5 * spread[: lab.world.n_train].mean()


def test_the_policy_speaks(run: Any):
    policy = run.steer(EVEN, method="orchestrator")
    assert policy.generate(["How do I cook rice well? I am in a hurry. Answer for a child."], seed=0)[0]
    same = run.policy(run[0].id)
    prompt, reply = ["How do I cook rice well? I am in a hurry. Answer for a child."], ["In short:"]
    np.testing.assert_array_equal(policy.logps(prompt, reply), same.logps(prompt, reply))


def test_auto_is_an_even_prior(run: Any):
    prompt, reply = ["How do I cook rice well? I am in a hurry. Answer for a child."], ["In short:"]
    auto, even = run.steer("auto"), run.steer(EVEN)
    np.testing.assert_array_equal(auto.logps(prompt, reply), even.logps(prompt, reply))
    with pytest.raises(pareto.errors.UsageError, match="the word 'auto'; got 'best'"):
        run.steer("best")


def test_rewards_may_be_learned_from_pairs(tmp_path: Path):
    few = {"steps": 5, "batch_size": 16, "lr": 1e-3}
    method = {"target": {"kind": "rewards"}, "reward": {"kind": "pairs", "training": few}, "training": few}
    run = pareto.sweep(study(method, [EVEN]), out=tmp_path / "run", workers=0)
    assert len(run) == 1
    assert run.content["failed"] == []


def test_the_plan():
    lab = Lab(**SMALL, **PLANTED)
    cells = PreferenceOrchestrator().plan(lab, [EVEN, CORNER], [0, 1])
    assert [c.role for c in cells] == ["prerequisite", *["prerequisite", "policy", "policy"] * 2]
    learned = PreferenceOrchestrator(reward={"kind": "ridge"}).plan(lab, [EVEN], [0])
    assert [c.role for c in learned] == ["prerequisite"] * 3 + ["policy"]
