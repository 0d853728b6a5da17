"""Every kind of policy over HTTP: at its own weights it says what it says alone, and between them it is the mixture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pareto.models.adapters import LoRA, attach, save_policy
from pareto.models.generate import Sampling
from pareto.models.heads import FullHeads, LowRankHeads, attach_heads
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest
from tests.models import adapters_by_hand as by_hand
from tests.serve.conftest import serving

OBJECTIVES = Objectives(["helpful", "brief"])
POINTS = {"h": (1.0, 0.0), "half": (0.5, 0.5), "b": (0.0, 1.0)}
PROMPT = "a dog ran after"


@pytest.fixture(scope="module", params=[FullHeads(), LowRankHeads(r=2)], ids=lambda f: f.kind)
def heads_run(request, tmp_path_factory):
    """Three policies that differ in the weights of the same two heads."""
    folder = tmp_path_factory.mktemp("heads")
    by_hand.write_reference(folder / "prerequisites" / "base")
    model = attach(by_hand.reference(), LoRA(r=2), seed=0)
    bank = attach_heads(model, request.param, 2, seed=0)
    by_hand.shake(model, 3)
    bank.release(model)
    records = []
    for name, weights in POINTS.items():
        own, named = folder / "policies" / name, OBJECTIVES.named(weights)
        save_policy(model, own)
        bank.save(own, OBJECTIVES.names)
        (own / "policy.json").write_text(json.dumps({"kind": "heads", "weights": named, "beta": 1.0}))
        needs = {"needs": {"reference": "prerequisites/base"}}
        records.append(PolicyRecord(name, "heads", named, named, files=manifest.digests(own), facts=needs))
    return PolicySet(folder, tuple(records), OBJECTIVES)


def test_heads_of_one_backbone_serve_every_row(heads_run):
    vectors = [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.3, 0.7]]
    policy = heads_run.steer([0.5, 0.5], method="heads")
    together = policy.replies([PROMPT] * 4, Sampling(max_new_tokens=8), weights=vectors, seed=1)
    with serving(heads_run) as client:
        for weights, row in zip(vectors, together):
            answer = client.ask(PROMPT, pareto={"weights": OBJECTIVES.named(weights)}, logprobs=0)
            assert answer["choices"][0]["text"] == row.text
            assert answer["pareto"]["method"] == "heads"
            np.testing.assert_allclose(
                answer["choices"][0]["logprobs"]["token_logprobs"], row.logps, rtol=1e-5
            )
        assert len(client.service.menu.lanes()) == 1
    for name in POINTS:
        stored = heads_run.policy(name)
        got = policy.logps([PROMPT], [" sat"], weights=heads_run[name].weights)
        np.testing.assert_allclose(got, stored.logps([PROMPT], [" sat"]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_logits_at_a_vertex_are_the_policys_to_rounding(kind, request):
    """float32, relative to the largest logit: 1e-6 for adapters by the same factors and for parameters that are equal."""
    run = request.getfixturevalue(f"{kind}_run")
    ids = torch.tensor([[1, 10, 11, 12, 13]])
    for method in ("soup", "mod"):
        policy = run.steer([0.5, 0.5], method=method)
        for name in ("h", "b"):
            with torch.no_grad(), policy.model.at(torch.tensor(POINTS[name])):
                got = policy.model(input_ids=ids).logits.log_softmax(-1)
            with torch.no_grad():
                want = run.policy(name).model(input_ids=ids).logits.log_softmax(-1)
            assert float((got - want).abs().max() / want.abs().max()) <= 1e-6
