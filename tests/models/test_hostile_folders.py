"""Hostile folders of models and adapters: nothing in them runs, and each is refused with one reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pareto import trust
from pareto.data.encode import encode_prompts
from pareto.data.texts import Chat, Message
from pareto.errors import DataError, UsageError
from pareto.models.adapters import load_policy, reattach
from pareto.models.causal import load_causal_lm, merge_adapter
from pareto.models.rewards.classifier import Classifier
from pareto.models.tokenizers import load_tokenizer, train_tokenizer
from tests.models import adapters_by_hand as by_hand
from tests.models import hostile, tiny


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """A file that would be there if something hostile had run; nobody trusts anything."""
    path = tmp_path / "sentinel"
    trust.say(False)
    yield path
    assert not path.exists()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return by_hand.write_reference(tmp_path / "model")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return by_hand.write_ours(tmp_path / "adapter", 0)


def one_reason(error: BaseException) -> str:
    message = str(error)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    return message


@pytest.mark.parametrize("name", hostile.MODELS)
def test_models(name: str, model: Path, sentinel: Path) -> None:
    edit, reason = hostile.MODELS[name]
    edit(model, sentinel)
    with pytest.raises(UsageError, match=reason) as caught:
        load_causal_lm(model)
    assert str(model) in one_reason(caught.value)


def test_the_sound_folder_is_loaded(model: Path, adapter: Path, sentinel: Path) -> None:
    loaded, _ = load_causal_lm(model)
    load_policy(loaded, adapter)


def test_what_the_pickles_would_do(tmp_path: Path) -> None:
    """The payload is a real one: unpickled by hand it leaves its sentinel."""
    import pickle

    hostile.Payload(tmp_path / "ran")
    pickle.loads(pickle.dumps(hostile.Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_what_the_code_would_do(model: Path, tmp_path: Path) -> None:
    """The code is real, too: it runs where the command line says so."""
    hostile.MODELS["code of its own beside a known architecture"][0](model, tmp_path / "ran")
    trust.say(True)
    try:
        load_causal_lm(model)
    finally:
        trust.say(False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["code of its own", "a tokenizer with code", "a tokenizer behind a link"])
def test_tokenizers_and_classifiers_alike(name: str, model: Path, sentinel: Path) -> None:
    edit, reason = hostile.MODELS[name]
    edit(model, sentinel)
    with pytest.raises(UsageError, match=reason):
        load_tokenizer(model)
    with pytest.raises(UsageError, match=reason):
        Classifier(model=str(model)).score(["a"], ["b"])


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file", "special_tokens_map_file"])
def test_files_that_settings_name_elsewhere_are_not_read(key: str, model: Path, sentinel: Path) -> None:
    """Settings keep such paths of the machine that wrote them; what lies there now is somebody else's."""
    outside = sentinel.parent / "outside"
    train_tokenizer(["another vocabulary " * 30], 300).save_pretrained(outside)
    own = load_tokenizer(model).get_vocab()
    hostile.patch_json("tokenizer_config.json", **{key: str(outside / "tokenizer.json")})(model, sentinel)
    assert load_tokenizer(model).get_vocab() == own != load_tokenizer(outside).get_vocab()


def test_a_snapshot_of_the_hubs_cache_links_into_its_own_store(model: Path, sentinel: Path) -> None:
    repository = sentinel.parent / "models--org--name"
    snapshot = repository / "snapshots" / "abc"
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in model.iterdir():
        path.rename(repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    load_causal_lm(snapshot)
    (snapshot / "more.txt").symlink_to("/etc/hostname")
    with pytest.raises(UsageError, match=r"more\.txt is a link to"):
        load_causal_lm(snapshot)


@pytest.mark.parametrize("name", hostile.ADAPTERS)
def test_adapters(name: str, adapter: Path, sentinel: Path) -> None:
    edit, reason = hostile.ADAPTERS[name]
    edit(adapter, sentinel)
    for load in (load_policy, reattach, merge_adapter):
        with pytest.raises(UsageError, match=reason) as caught:
            load(by_hand.reference(), adapter)
        assert str(adapter) in one_reason(caught.value)


def test_the_base_that_an_adapter_names_is_not_looked_for(adapter: Path, sentinel: Path) -> None:
    """It stands on the model it is given; a name in it leads nowhere."""
    hostile.patch_json("adapter_config.json", base_model_name_or_path="/etc", revision="evil")(
        adapter, sentinel
    )
    load_policy(by_hand.reference(), adapter)


@pytest.mark.parametrize("name", ["half of the tensors", "pickled weights, .bin", "an index that climbs"])
def test_whole_models_as_policies(name: str, tmp_path: Path, sentinel: Path) -> None:
    folder = by_hand.write_model(tmp_path / "policy", 0)
    edit, reason = hostile.MODELS[name]
    edit(folder, sentinel)
    with pytest.raises(UsageError, match=f"{reason}|expected adapter_config.json or model.safetensors"):
        load_policy(by_hand.reference(), folder)


@pytest.mark.parametrize("name", hostile.TEMPLATES)
def test_chat_templates(name: str, sentinel: Path) -> None:
    tokenizer = tiny.fresh_tokenizer()
    tokenizer.chat_template = hostile.TEMPLATES[name].replace("SENTINEL", str(sentinel))
    with pytest.raises(
        DataError, match=r"the chat template of .* does not write this conversation of 1 messages"
    ) as caught:
        encode_prompts(tokenizer, [Chat((Message("user", "hi"),))])
    one_reason(caught.value)


def test_the_trace_of_whoever_debugs_comes_back() -> None:
    import sys

    tokenizer = tiny.fresh_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    before = sys.gettrace()
    encode_prompts(tokenizer, [Chat((Message("user", "hi"),))])
    assert sys.gettrace() is before


def test_settings_of_sound_adapters_are_no_reason(adapter: Path) -> None:
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["megatron_core"] == "megatron.core"  # PEFT writes it into every adapter
    load_policy(by_hand.reference(), adapter)
