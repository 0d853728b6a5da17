"""Steering a policy that is told the weights: stored numbers, rows of their own, and files for other programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.core.logps import response_logps, sums
from pareto.errors import SimplexError, UsageError
from pareto.models.adapters import FullFineTuning, LoRA, attach, save_policy
from pareto.models.conditioned import (
    ConditionedHeadConfig,
    attach_conditioned,
    release,
    save_conditioned,
    set_weights,
)
from pareto.models.text_policy import response_table
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet, TextPolicy
from pareto.state import manifest
from pareto.steer.auto import choose
from pareto.steer.exporting import export_adapter, export_model
from tests.models import tiny

OBJECTIVES = Objectives(["helpful", "brief"])
PROMPTS, REPLIES = ["the cat", "rain", "a dog ran after"], [" sat on", " fell over", " it"]
CONFIG = ConditionedHeadConfig(gate=("linear", "products", "mlp"), r=2)
ASKED = {"helpful": 0.2, "brief": 0.8}


def make_run(folder: Path, adapter: LoRA | FullFineTuning) -> tuple[PolicySet, dict[float, np.ndarray]]:
    """A run of one conditioned policy, and what it says of some replies at some weights on helpful."""
    reference = folder / "prerequisites" / "base"
    tiny.llama(layers=1).save_pretrained(reference)
    tiny.tokenizer().save_pretrained(reference)
    model = attach(tiny.llama(layers=1), adapter, seed=0)
    head = attach_conditioned(model, CONFIG, 2, seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=draw))
    table = response_table(tiny.tokenizer(), PROMPTS, REPLIES)
    said = {}
    for w in (0.2, 0.5, 1.0):
        set_weights(head, [1 - w, w])  # stored in another order than the run's objectives: names decide
        said[w] = sums(table, response_logps(model, table))
    release(model, head)
    own = folder / "policies" / "c"
    save_policy(model, own)
    save_conditioned(head, CONFIG, ["brief", "helpful"], own)
    weights = {"helpful": 0.5, "brief": 0.5}
    (own / "policy.json").write_text(json.dumps({"kind": "conditioned", "weights": weights, "beta": 1.0}))
    facts = {"needs": {"reference": "prerequisites/base"}}
    values = {"helpful": 1.0, "brief": 0.0}
    records = (PolicyRecord("c", "conditioned", values, weights, files=manifest.digests(own), facts=facts),)
    return PolicySet(folder, records, OBJECTIVES), said


@pytest.fixture(scope="module", params=[LoRA(r=2), FullFineTuning()], ids=lambda a: a.kind)
def run(request, tmp_path_factory) -> tuple[PolicySet, dict[float, np.ndarray]]:
    return make_run(tmp_path_factory.mktemp("run"), request.param)


def test_weights_are_served_as_they_were_trained(run):
    policies, said = run
    policy = policies.steer(ASKED)
    assert isinstance(policy, TextPolicy)
    assert choose(policies, np.array([0.2, 0.8])).method == "conditioned"
    assert policy.logps(PROMPTS, REPLIES) == pytest.approx(said[0.2], abs=1e-4)
    assert policies.steer({"helpful": 0.5, "brief": 0.5}).logps(PROMPTS, REPLIES) == pytest.approx(
        said[0.5], abs=1e-4
    )
    assert "0.8 x brief" in policy.describe()


def test_every_row_may_have_weights_of_its_own(run):
    policies, said = run
    policy = policies.steer(ASKED, method="conditioned")
    rows = [{"helpful": 1.0, "brief": 0.0}, ASKED, {"helpful": 0.5, "brief": 0.5}]
    found = policy.logps(PROMPTS, REPLIES, weights=rows)
    assert found == pytest.approx([said[1.0][0], said[0.2][1], said[0.5][2]], abs=1e-4)
    together = policy.generate(PROMPTS, weights=rows, max_new_tokens=6, seed=3)
    alone = [policy.generate([p], weights=w, max_new_tokens=6, seed=3)[0] for p, w in zip(PROMPTS, rows)]
    assert together == alone
    assert policy.logps(PROMPTS, REPLIES) == pytest.approx(said[0.2], abs=1e-4)  # its own again


def test_an_exported_model_says_the_same(run, tmp_path):
    from transformers import AutoModelForCausalLM

    policies, said = run
    done = export_model(policies, np.array([0.2, 0.8]), tmp_path / "model")
    assert (done.kind, dict(done.shares)) == ("model", {"c": 1.0})
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    table = response_table(tiny.tokenizer(), PROMPTS, REPLIES)
    assert sums(table, response_logps(model, table)) == pytest.approx(said[0.2], abs=1e-4)
    facts = json.loads((tmp_path / "model" / "pareto_export.json").read_text())
    assert (facts["method"], facts["weights"]) == ("conditioned", ASKED)


def test_an_exported_adapter_is_an_ordinary_one(tmp_path):
    from peft import PeftModel

    policies, said = make_run(tmp_path / "run", LoRA(r=2))
    done = export_adapter(policies, np.array([0.2, 0.8]), tmp_path / "adapter")
    assert done.error == 0.0
    model = PeftModel.from_pretrained(tiny.llama(layers=1), str(tmp_path / "adapter")).eval()
    table = response_table(tiny.tokenizer(), PROMPTS, REPLIES)
    assert sums(table, response_logps(model, table)) == pytest.approx(said[0.2], abs=1e-4)
    whole, _ = make_run(tmp_path / "whole", FullFineTuning())
    with pytest.raises(UsageError, match="fine-tuned whole"):
        export_adapter(whole, np.array([0.2, 0.8]), tmp_path / "no")


def test_what_it_cannot_do(run):
    policies, _ = run
    with pytest.raises(UsageError, match="takes no options"):
        policies.steer(ASKED, method="conditioned", among="all")
    with pytest.raises(SimplexError):
        policies.steer({"helpful": 1.2, "brief": -0.2}, method="conditioned")
    with pytest.raises(UsageError, match="no extrapolation"):
        policies.steer({"helpful": 1.2, "brief": -0.2}, extrapolate=True)
    empty = PolicySet(policies.folder, (), OBJECTIVES)
    with pytest.raises(UsageError, match="modpo_conditioned"):
        empty.steer(ASKED, method="conditioned")
