"""A tokenizer trained on the data writes any text back, the same in every process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto.errors import ConfigError, DataError
from pareto.models.tokenizers import BOS, EOS, PAD, load_tokenizer, train_tokenizer
from tests.models import tiny


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_is_written_back(text):
    tokenizer = tiny.tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == BOS
    if not any(s in text for s in ("<s>", "</s>", "<pad>")):
        assert tokenizer.decode(ids[1:]) == text


def test_special_tokens():
    tokenizer = tiny.tokenizer()
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (PAD, BOS, EOS)
    assert len(tokenizer) == 300


def test_the_same_texts_give_the_same_tokenizer_in_another_process():
    code = (
        "from pareto.models.tokenizers import train_tokenizer; import hashlib;"
        "texts = [' '.join(str(i * j % 97) for j in range(50)) for i in range(50)];"
        "t = train_tokenizer(texts, 400); print(hashlib.sha256(t.backend_tokenizer.to_str().encode()).hexdigest())"
    )
    run = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert run[0].stdout == run[1].stdout


def test_wrong_input_is_named():
    with pytest.raises(ConfigError, match="at least 259"):
        train_tokenizer(["a"], 100)
    with pytest.raises(DataError, match="at least one text"):
        train_tokenizer(iter(()), 300)


def test_a_folder_without_tokenizer_is_one_clear_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has no tokenizer: expected one of tokenizer.json"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path):
    tokenizer = tiny.fresh_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path).pad_token_id == EOS
