"""Adapters: they start as nothing, and come back from disk as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ValidationError

from pareto.errors import ArtifactError
from pareto.models.adapters import Adapter, FullFineTuning, LoRA, attach, load_policy, reattach, save_policy
from pareto.models.causal import load_causal_lm
from tests.models import tiny


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with the reference model."""
    folder = tmp_path_factory.mktemp("base")
    tiny.llama(layers=1).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def reference(base):
    return load_causal_lm(base)[0]


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([[1, 20, 30, 40, 7]])).logits


def moved(model, seed=0):
    """The model after some change of what is trainable."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return model


@pytest.mark.parametrize("adapter", [LoRA(r=2), LoRA(r=2, targets=("q_proj",)), FullFineTuning()])
def test_attaching_changes_no_output(adapter, base):
    want = logits(reference(base))
    state = torch.get_rng_state()
    model = attach(reference(base), adapter, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(logits(model), want)
    assert any(p.requires_grad for p in model.parameters())


def test_low_rank_factors_are_all_that_is_trained(base):
    model = attach(reference(base), LoRA(r=3), seed=0)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_A" in n or "lora_B" in n for n in trained)
    assert {min(p.shape) for p in trained.values()} == {3}
    assert len(trained) == 2 * 7  # factors of q, k, v, o, gate, up, down
    assert model.peft_config["default"].lora_alpha == 32


def test_targets_are_what_was_asked_for(base):
    model = attach(reference(base), LoRA(r=2, targets=("q_proj", "v_proj")), seed=0)
    trained = {
        n.split(".lora_")[0].rpartition(".")[2] for n, p in model.named_parameters() if p.requires_grad
    }
    assert trained == {"q_proj", "v_proj"}


def test_the_seed_decides_the_first_factors(base):
    def factors(seed):
        model = attach(reference(base), LoRA(r=2), seed=seed)
        return torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])

    assert torch.equal(factors(1), factors(1))
    assert not torch.equal(factors(1), factors(2))


def test_full_fine_tuning_trains_everything(base):
    model = reference(base).requires_grad_(False)
    assert all(p.requires_grad for p in attach(model, FullFineTuning(), seed=0).parameters())


@pytest.mark.parametrize(("adapter", "kind"), [(LoRA(r=2), "adapter"), (FullFineTuning(), "model")])
def test_a_policy_comes_back_as_it_was(adapter, kind, base, tmp_path):
    model = moved(attach(reference(base), adapter, seed=0))
    want = logits(model)
    assert not torch.allclose(want, logits(reference(base)), atol=1e-3)
    assert save_policy(model, tmp_path / "policy") == kind
    loaded = load_policy(reference(base), tmp_path / "policy")
    assert not loaded.training
    assert torch.equal(logits(loaded), want)


@pytest.mark.parametrize("adapter", [LoRA(r=2), FullFineTuning()])
def test_what_is_stored_is_safe_and_names_no_machine(adapter, base, tmp_path):
    folder = tmp_path / "policy"
    save_policy(moved(attach(reference(base), adapter, seed=0)), folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    assert {p.suffix for p in files} <= {".safetensors", ".json"}
    assert any(p.suffix == ".safetensors" for p in files)
    for path in files:
        content = path.read_bytes()
        assert str(base).encode() not in content, path.name
        assert str(Path.cwd()).encode() not in content, path.name
    if isinstance(adapter, LoRA):
        assert not json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]


def test_the_same_policy_is_the_same_bytes(base, tmp_path):
    for name in ("one", "two"):
        save_policy(moved(attach(reference(base), LoRA(r=2), seed=0)), tmp_path / name)
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_an_empty_folder_is_no_policy(base, tmp_path):
    with pytest.raises(ArtifactError, match=r"neither.*incomplete"):
        load_policy(reference(base), tmp_path)


class Holder(BaseModel):
    """Something with an adapter in its configuration."""

    adapter: Adapter


def test_the_kind_decides_which_adapter_a_config_means():
    assert Holder.model_validate({"adapter": {"kind": "full"}}).adapter == FullFineTuning()
    lora = Holder.model_validate({"adapter": {"kind": "lora", "r": 4, "targets": ("q_proj",)}}).adapter
    assert lora == LoRA(r=4, targets=("q_proj",))
    assert Holder.model_validate_json('{"adapter": {"kind": "lora", "targets": ["q_proj"]}}').adapter == LoRA(
        targets=("q_proj",)
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": "lora", "r": 0},
        {"kind": "lora", "dropout": 1.0},
        {"kind": "lora", "rank": 4},
        {"kind": "full", "r": 4},
        {"kind": "prefix"},
        {"kind": "lora", "targets": "some-linear"},
    ],
)
def test_illegal_adapters_cannot_be_built(bad):
    with pytest.raises(ValidationError):
        Holder.model_validate({"adapter": bad})


@pytest.mark.parametrize("adapter", [LoRA(r=2), FullFineTuning()])
def test_training_goes_on_where_a_stored_policy_stands(adapter, base, tmp_path):
    trained = moved(attach(reference(base), adapter, seed=1))
    want, names = logits(trained), {n for n, p in trained.named_parameters() if p.requires_grad}
    save_policy(trained, tmp_path)
    again = reattach(reference(base), tmp_path)
    torch.testing.assert_close(logits(again), want)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == names


def test_an_adapters_config_has_one_order_in_every_process(base, tmp_path):
    save_policy(
        attach(reference(base), LoRA(r=2, targets=("v_proj", "q_proj", "o_proj", "k_proj")), seed=0), tmp_path
    )
    stored = json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"]
    assert stored == ["k_proj", "o_proj", "q_proj", "v_proj"]
