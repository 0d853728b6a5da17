"""What is exported computes what is steered: plain PEFT and plain transformers against the mixture."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from pareto.errors import UsageError
from pareto.steer.exporting import export_adapter, export_model
from tests.models import adapters_by_hand as by_hand
from tests.models import tiny

IDS = torch.tensor([[1, 7, 30, 44, 9], [1, 200, 31, 3, 12]])
WEIGHTS = [0.8, 0.2]


def logits(model, **more):
    with torch.no_grad():
        return model(input_ids=IDS, **more).logits


def steered(run, **options):
    policy = run.steer(WEIGHTS, method="soup", **options)
    return logits(policy.model, coefficients=torch.from_numpy(policy.rows(None, 1)))


def relative(got, want):
    return float((got - want).norm() / want.norm())


@pytest.mark.parametrize(("among", "rank"), [("all", 4), ("corners", 4), (["h", "half", "b"], 4)])
def test_plain_peft_computes_the_mixture(adapter_run, tmp_path, among, rank):
    from peft import PeftModel

    done = export_adapter(adapter_run, adapter_run.check_weights(WEIGHTS), tmp_path / "out", among=among)
    loaded = PeftModel.from_pretrained(by_hand.reference(), str(tmp_path / "out")).eval()
    want = steered(adapter_run, among=among)
    assert relative(logits(loaded), want) < 1e-6
    assert (done.rank, done.error) == (rank, 0.0)
    facts = json.loads((tmp_path / "out" / "pareto_export.json").read_text())
    assert facts["weights"] == {"helpful": 0.8, "brief": 0.2}
    assert facts["shares"] == dict(done.shares)
    assert not facts["extrapolated"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "pareto_export.json",
    ]


def test_a_measured_policy_keeps_its_own_rank(adapter_run, tmp_path):
    done = export_adapter(adapter_run, adapter_run.check_weights([0.5, 0.5]), tmp_path / "out")
    assert (done.shares, done.rank) == ({"half": 1.0}, 2)


def test_a_cut_rank_says_what_it_loses(adapter_run, tmp_path):
    weights = adapter_run.check_weights(WEIGHTS)
    done = export_adapter(adapter_run, weights, tmp_path / "out", rank=2)
    assert done.rank == 2
    assert 0.01 < done.error < 1
    with pytest.raises(UsageError, match="rank must be at least 1"):
        export_adapter(adapter_run, weights, tmp_path / "none", rank=0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_merged_model_computes_the_mixture(request, tmp_path, kind):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = request.getfixturevalue(f"{kind}_run")
    export_model(run, run.check_weights(WEIGHTS), tmp_path / "out")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert relative(logits(loaded), steered(run, among="all")) < 1e-6
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("the cat")["input_ids"] == tiny.tokenizer()("the cat")["input_ids"]


def test_outside_the_simplex_is_marked(adapter_run, tmp_path):
    weights = adapter_run.check_weights([1.2, -0.2], extrapolate=True)
    export_adapter(adapter_run, weights, tmp_path / "out", among="corners", extrapolate=True)
    assert json.loads((tmp_path / "out" / "pareto_export.json").read_text())["extrapolated"]


def test_whole_models_have_no_adapter(model_run, tmp_path):
    with pytest.raises(UsageError, match="export a merged model"):
        export_adapter(model_run, model_run.check_weights(WEIGHTS), tmp_path / "out")
    heads = dataclasses.replace(
        model_run, records=tuple(dataclasses.replace(r, kind="heads") for r in model_run)
    )
    with pytest.raises(UsageError, match="no exact mixture"):
        export_model(heads, heads.check_weights(WEIGHTS), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
