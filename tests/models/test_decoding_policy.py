"""Stored decoding mixtures: kind "decoding" loads, generates and scores as its rule says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pareto.core.logps import response_logps, sums
from pareto.models.adapters import LoRA, attach, load_policy, save_policy
from pareto.models.decoding_policy import store_decoding
from pareto.models.text_policy import TransformersPolicy, response_table
from pareto.objectives import Objectives
from tests.models import tiny


def member(folder: Path, seed: int) -> Path:
    model = attach(tiny.llama(), LoRA(r=2), seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=draw))
    folder.mkdir()
    save_policy(model, folder)
    return folder


def test_a_geometric_mean_by_its_formula(tmp_path: Path):
    members = [member(tmp_path / n, seed) for n, seed in (("a", 1), ("b", 2))]
    out = tmp_path / "mixed"
    out.mkdir()
    store_decoding([(members[0], 0.25), (members[1], 0.75)], "reverse_kl", {}, out)
    ids = torch.arange(1, 8)[None]
    with torch.no_grad():
        one, two = (load_policy(tiny.llama(), f)(input_ids=ids).logits.log_softmax(-1) for f in members)
        mixed = load_policy(tiny.llama(), out)
        want = (0.25 * one + 0.75 * two).log_softmax(-1)
        assert torch.allclose(mixed(input_ids=ids).logits.log_softmax(-1), want, atol=1e-5)
    policy = TransformersPolicy(mixed, tiny.tokenizer(), Objectives(["a", "b"]))
    text = policy.generate(["the cat"], max_new_tokens=5, seed=1)
    assert policy.generate(["rain", "the cat"], max_new_tokens=5, seed=1)[1] == text[0]
    table = response_table(tiny.tokenizer(), ["the cat"], [" sat on"])
    assert np.isfinite(sums(table, response_logps(mixed, table))).all()
    assert (out / "0" / "adapter_model.safetensors").samefile(members[0] / "adapter_model.safetensors")
