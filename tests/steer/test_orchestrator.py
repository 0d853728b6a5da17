"""Steering by an orchestrator: every prompt under its own weights, tilted by a prior, through any policy that takes rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pareto.errors import UsageError
from pareto.models.orchestrator import Orchestrator, blend
from pareto.models.text_policy import DecodablePolicy
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet, TextPolicy
from pareto.state import manifest
from tests.models import adapters_by_hand as by_hand

PROMPTS, REPLIES = ["the cat", "rain", "a dog ran after"], [" sat on", " fell over", " it"]


@pytest.fixture(scope="module")
def orchestrated(tmp_path_factory) -> tuple[PolicySet, Orchestrator]:
    """A run of one trained policy with an orchestrator beside it, whose outputs stand in another order than the run's."""
    folder = tmp_path_factory.mktemp("orchestrated")
    by_hand.write_reference(folder / "prerequisites" / "base")
    own = folder / "policies" / "o"
    by_hand.write_ours(own, 0)
    width = by_hand_width(folder / "prerequisites" / "base")
    network = Orchestrator(width, 2, ())
    with torch.no_grad():
        network.out.weight.copy_(3.0 * torch.randn(2, width, generator=torch.Generator().manual_seed(1)))
    network.save(own, ["brief", "helpful"], {})
    record = PolicyRecord(
        "o",
        "orchestrator",
        {"helpful": 0.0, "brief": 0.0},
        {"helpful": 0.5, "brief": 0.5},
        files=manifest.digests(own),
        facts={"needs": {"reference": "prerequisites/base"}},
    )
    return PolicySet(folder, (record,), Objectives(["helpful", "brief"])), network


def by_hand_width(folder) -> int:
    """Three vectors of the model's width."""
    return 3 * json.loads((folder / "config.json").read_text())["hidden_size"]


@pytest.mark.parametrize("through", ["soup", "mod", None])
def test_every_prompt_is_served_under_its_own_weights(through, adapter_run, orchestrated):
    source, network = orchestrated
    policy = adapter_run.steer("auto", source=source, through=through)
    assert isinstance(policy, TextPolicy)
    assert isinstance(policy, DecodablePolicy)
    weights = policy.weights(PROMPTS)
    np.testing.assert_allclose(weights, policy.reader.weights(PROMPTS))
    assert np.ptp(weights[:, 0]) > 0.05
    # the network's first output is `brief`
    features = network.weights(features_of(policy, PROMPTS))
    np.testing.assert_allclose(weights, features[:, ::-1], rtol=1e-6)
    options = {} if through == "mod" else {"among": "all"}
    plain = adapter_run.steer([0.5, 0.5], method=through or "soup", **options)
    np.testing.assert_allclose(
        policy.logps(PROMPTS, REPLIES), plain.logps(PROMPTS, REPLIES, weights=weights), atol=1e-5
    )
    assert policy.generate(PROMPTS, max_new_tokens=3, seed=1) == plain.generate(
        PROMPTS, weights=weights, max_new_tokens=3, seed=1
    )


def features_of(policy, prompts):
    from pareto.data.encode import encode_prompts
    from pareto.data.pairs import Ragged
    from pareto.models.hidden_features import prompt_features

    return prompt_features(policy.reader.reference, Ragged.of(encode_prompts(policy.tokenizer, prompts)))


def test_a_prior_tilts_and_strength_says_how_much(adapter_run, orchestrated):
    source, _ = orchestrated
    prior = np.array([0.8, 0.2])
    policy = adapter_run.steer(prior, method="orchestrator", source=source, strength=0.5)
    own = policy.reader.weights(PROMPTS)
    np.testing.assert_allclose(policy.weights(PROMPTS), blend(own, prior, 0.5))
    np.testing.assert_allclose(policy.weights(PROMPTS, [0.3, 0.7]), blend(own, np.array([0.3, 0.7]), 0.5))
    rows = policy.weights(PROMPTS, [{"helpful": 1.0, "brief": 0.0}, {"helpful": 0.5, "brief": 0.5}, {"helpful": 0.0, "brief": 1.0}])  # fmt: skip
    np.testing.assert_allclose(rows[[0, 2]], [[1.0, 0.0], [0.0, 1.0]])
    fixed = adapter_run.steer(prior, method="orchestrator", source=source, strength=0.0)
    np.testing.assert_allclose(fixed.weights(PROMPTS), np.tile(prior, (3, 1)))


def test_token_by_token_it_is_the_inner_policy(adapter_run, orchestrated):
    source, _ = orchestrated
    policy = adapter_run.steer("auto", source=source, among="corners")
    encoded = policy.encode(PROMPTS)
    np.testing.assert_allclose(encoded.coefficients, policy.weights(PROMPTS), atol=1e-12)
    assert "prior helpful=0.5, brief=0.5" in policy.describe()


def test_its_own_run_serves_what_was_trained(orchestrated):
    source, _ = orchestrated
    served = source.steer("auto")
    np.testing.assert_array_equal(served.logps(PROMPTS, REPLIES), source.policy("o").logps(PROMPTS, REPLIES))
    with pytest.raises(UsageError, match="options through and strength steer other runs"):
        source.steer("auto", strength=2.0)


def test_what_cannot_be_is_refused(adapter_run, orchestrated):
    source, _ = orchestrated
    with pytest.raises(UsageError, match="holds no orchestrator"):
        adapter_run.steer("auto")
    with pytest.raises(UsageError, match="holds no policy of kind 'orchestrator'"):
        adapter_run.steer("auto", source=adapter_run)
    with pytest.raises(UsageError, match="takes no weights prompt by prompt"):
        source.steer([0.5, 0.5], method="orchestrator", source=source)
