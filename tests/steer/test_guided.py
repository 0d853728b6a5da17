"""Steering by reward models: those given, the run's own, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pareto.core.reference import model_sha256
from pareto.errors import ObjectiveError, UsageError
from pareto.models.generate import Sampling
from pareto.models.guided_policy import GuidedPolicy
from pareto.models.reward_models.heads import build_head
from pareto.models.reward_models.model import RewardForm, RewardModel
from pareto.models.reward_models.steps import EveryTokens
from pareto.models.text_policy import TransformersPolicy
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from tests.models import tiny


def reward_model(objectives: tuple[str, ...], folder: Path, base: Path, seed: int) -> None:
    form = RewardForm(objectives=objectives, steps=EveryTokens(n=2))
    model = tiny.llama(layers=1)
    own = RewardModel(model, tiny.tokenizer(), build_head(form.head, 32, len(objectives), seed=seed), form)
    folder.mkdir(parents=True)
    own.save(folder, base=model_sha256(base))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> PolicySet:
    folder = tmp_path_factory.mktemp("run")
    reference = folder / "prerequisites" / "base"
    tiny.llama(layers=1).save_pretrained(reference)
    tiny.tokenizer().save_pretrained(reference)
    facts = {"needs": {"reference": "prerequisites/base"}}
    record = PolicyRecord("a", "adapter", {"x": 1.0, "y": 0.0}, {"x": 1.0, "y": 0.0}, facts=facts)
    reward_model(("y",), folder / "rewards" / "y", reference, 0)
    reward_model(("x",), folder / "rewards" / "x", reference, 1)
    return PolicySet(folder, (record,), Objectives(["x", "y"]))


def test_given_reward_models_choose_in_the_order_of_the_runs_objectives(run: PolicySet):
    folders = [run.folder / "rewards" / "y", run.folder / "rewards" / "x"]
    policy = run.steer([0.5, 0.5], method="guided", rewards=folders, candidates=3)
    assert isinstance(policy, GuidedPolicy)
    assert isinstance(policy.policy, TransformersPolicy)
    assert policy.guidance.steps == EveryTokens(n=2)  # where the reward models are read
    replies = policy.replies(["rain", "the cat"], Sampling(max_new_tokens=5))
    assert all(len(r.ids) <= r.generated_tokens <= 15 for r in replies)
    scores = [part.of_replies(["rain"], [replies[0].text])[0, 0] for part in policy.rewards.parts]
    assert np.allclose(replies[0].scores, scores[::-1], atol=1e-6)
    other = run.steer(
        [0.5, 0.5], method="guided", rewards=folders, steps={"kind": "tokens", "n": 1}, rule="worst"
    )
    assert other.guidance.steps == EveryTokens(n=1)
    assert other.generate(["rain"], max_new_tokens=3)


def test_the_runs_own_reward_model_is_taken_where_none_is_given(run: PolicySet):
    with pytest.raises(UsageError, match="trained no reward model"):
        run.steer([0.5, 0.5], method="guided")
    with pytest.raises(ObjectiveError, match="each of x, y once"):
        run.steer([0.5, 0.5], method="guided", rewards=run.folder / "rewards" / "y")
    reward_model(
        ("x", "y"), run.folder / "prerequisites" / "reward", run.folder / "prerequisites" / "base", 2
    )
    policy = run.steer([0.5, 0.5], method="guided")
    assert policy.rewards.objectives == ("x", "y")
