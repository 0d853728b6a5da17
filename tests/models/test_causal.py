"""Models from sizes and from folders; what must not be loaded is refused."""

from __future__ import annotations

import json

import pytest
import torch

from pareto.errors import ConfigError
from pareto.models.causal import SmallLlama, build_llama, check_source, load_causal_lm, merge_adapter
from pareto.models.fingerprint import model_fingerprint
from tests.models import tiny


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    tiny.llama().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 20, 30, 40]])).logits


def test_seeds_decide_the_initial_weights_and_nothing_else_does():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = tiny.llama(1), tiny.llama(1), tiny.llama(2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(logits(one), logits(same), atol=0, rtol=0)
    assert not torch.equal(logits(one), logits(other))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="multiple of twice the heads"):
        build_llama(SmallLlama(hidden=36, heads=4), tiny.tokenizer(), 0)


def test_a_folder_is_loaded_as_it_was_saved(folder):
    model, tokenizer = load_causal_lm(folder)
    torch.testing.assert_close(logits(model), logits(tiny.llama()), atol=0, rtol=0)
    assert tokenizer("the cat")["input_ids"] == tiny.tokenizer()("the cat")["input_ids"]
    assert not model.training


def test_a_folder_without_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(ConfigError, match=r"has no tokenizer"):
        load_causal_lm(folder)


def test_a_folder_without_config(tmp_path):
    with pytest.raises(ConfigError, match=r"no config.json"):
        load_causal_lm(tmp_path)


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "a/b/c"])
def test_a_path_that_is_no_folder_is_not_taken_for_a_hub_id(source):
    with pytest.raises(ConfigError, match="no model folder"):
        check_source(source)


def test_the_hub_is_not_asked_when_it_is_off(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="switched off"):
        check_source("org/name")


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save(tiny.llama().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="holds pickled weights"):
        load_causal_lm(folder)


def test_code_of_the_folder_does_not_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "unheard_of",
        "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()")
    with pytest.raises(ConfigError, match="classes of the model's own"):
        load_causal_lm(folder)
    assert not (folder / "ran").exists()


def test_a_tokenizer_of_another_model_is_refused(folder):
    tiny.llama(vocab_size=300).save_pretrained(folder)
    bigger = tiny.fresh_tokenizer()
    bigger.add_tokens([f"<extra{i}>" for i in range(50)])
    bigger.save_pretrained(folder)
    with pytest.raises(ConfigError, match="350 tokens, the model 300"):
        load_causal_lm(folder)


def adapter(path, **options):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **options
    )
    model = get_peft_model(tiny.llama(), config)
    model.save_pretrained(path)
    return logits(model.eval())


def test_a_merged_adapter_computes_what_the_adapter_computed(tmp_path):
    want = adapter(tmp_path)
    merged = merge_adapter(tiny.llama(), tmp_path)
    torch.testing.assert_close(logits(merged), want, atol=1e-4, rtol=1e-4)
    assert not hasattr(merged, "peft_config")


def test_an_adapter_that_merges_wrongly_is_refused(tmp_path, monkeypatch):
    from peft import PeftModel

    adapter(tmp_path)
    monkeypatch.setattr(PeftModel, "merge_and_unload", lambda self: self.unload(), raising=False)
    with pytest.raises(ConfigError, match="changed its log-probabilities"):
        merge_adapter(tiny.llama(), tmp_path)


def test_no_adapter_there(tmp_path):
    with pytest.raises(ConfigError, match=r"no adapter_config.json"):
        merge_adapter(tiny.llama(), tmp_path)


def test_pickled_adapters_are_refused(tmp_path):
    adapter(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(ConfigError, match=r"adapter_model.safetensors"):
        merge_adapter(tiny.llama(), tmp_path)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    adapter(tmp_path)
    with pytest.raises(ConfigError, match="does not fit the model"):
        merge_adapter(tiny.llama(hidden=64), tmp_path)
    with pytest.raises(ConfigError, match="14 of the model's adapter tensors"):
        merge_adapter(tiny.llama(layers=1), tmp_path)


def test_a_fingerprint_changes_with_any_file(folder):
    before = model_fingerprint(str(folder))
    assert model_fingerprint(str(folder)) == before
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert model_fingerprint(str(folder)) != before
    assert model_fingerprint("org/name", "main") != model_fingerprint("org/name", "v2")
