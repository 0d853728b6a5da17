"""How much there is to train on, told beforehand, beside what is then made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pareto.models.causal import build_llama
from pareto.models.tokenizers import train_tokenizer
from pareto.tasks.lab import Lab, language
from pareto.tasks.lab.reference import make_model
from pareto.tasks.text import Text

SIZES = {"hidden": 64, "layers": 2, "heads": 2, "vocab_size": 300, "max_positions": 96}


@pytest.fixture
def task(tmp_path: Path) -> Text:
    """40 prompts of 8 characters, each with a reply of 12 and one of 20, at most 5 tokens of which are read."""
    rows = [
        {"prompt": f"ask {i:04d}", "responses": ["a" * 12, "b" * 20], "scores": [{"good": 1}, {"good": 0}]}
        for i in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "data": [str(tmp_path / "rows.jsonl")],
        "objectives": ["good"],
        "from_config": SIZES,
        "limits": {"prompt_tokens": 24, "response_tokens": 5},
        "split": {"selection": 0.2, "heldout": 0.3},
        "sft": {"on": "all", "training": {"steps": 6, "batch_size": 8}},
        "generation": {"prompts": 4, "sampling": {"max_new_tokens": 8}},
    }
    return Text.model_validate_json(json.dumps(settings))


def test_text(task: Text) -> None:
    train = sum(task.split.part_of(f"ask {i:04d}") == "train" for i in range(40))
    sizes = task.sizes()
    assert 0 < train < 40
    assert (sizes.pairs, sizes.replies) == (train, 2 * train)
    # four characters a token: 8 / 4 and the start; 12 / 4 and the end, 20 / 4 and the end cut at 5
    assert (sizes.prompt_tokens, sizes.response_tokens) == (3.0, 4.5)
    assert task.price(task.prerequisites()["reference"]).train_tokens == 6 * 8 * 7.5
    assert (
        task.score_price().generated_tokens == 4 * 8
    )  # no rewards, so the held-out prompts alone are replied to
    tokenizer = train_tokenizer(["abc"], 300)
    true = sum(p.numel() for p in build_llama(task.from_config, tokenizer, 0).parameters())
    assert sizes.parameters == pytest.approx(true, rel=0.05)


def test_lab() -> None:
    lab = Lab(prompts=20, heldout=4, slots=3, choices=3, pairs=100)
    tokenizer = language.make_tokenizer(lab.world)
    true = sum(p.numel() for p in make_model(lab.reference, tokenizer, 0).parameters())
    sizes = lab.sizes()
    assert sizes.parameters == pytest.approx(true, rel=0.2)
    assert sizes.prompt_tokens == language.prompt_ids(lab.world, tokenizer).shape[1]
    assert sizes.response_tokens == language.response_ids(lab.world, tokenizer).shape[1]
    assert (sizes.pairs, sizes.replies) == (100, 200)  # 16 prompts have 432 replies
