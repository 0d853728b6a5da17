"""A weight-conditioned head: the reference at first, rows with weights of their own, stored and loaded to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.adapters import LoRA, attach, load_policy, save_policy
from pareto.models.conditioned import (
    ConditionedHeadConfig,
    attach_conditioned,
    put_on,
    read_conditioned,
    release,
    save_conditioned,
    set_weights,
)
from tests.models import tiny

IDS = torch.arange(1, 9)[None].repeat(3, 1)
CONFIG = ConditionedHeadConfig(gate=("linear", "products", "mlp"), r=3)


def disturbed(model, seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn(p.shape, generator=draw))
    return model


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    model = attach(tiny.llama(), LoRA(r=2), seed=0)
    head = attach_conditioned(model, CONFIG, 2, seed=0)
    disturbed(model)
    release(model, head)
    save_policy(model, tmp_path)
    save_conditioned(head, CONFIG, ["helpful", "brief"], tmp_path)
    (tmp_path / "policy.json").write_text(json.dumps({"weights": {"brief": 0.7, "helpful": 0.3}}))
    return tmp_path


def test_it_begins_at_the_reference():
    model = tiny.llama().requires_grad_(True)
    before = model(input_ids=IDS).logits
    head = attach_conditioned(model, CONFIG, 2, seed=0)
    assert torch.equal(model(input_ids=IDS).logits, before)
    for w in ([1.0, 0.0], [0.4, 0.6]):
        set_weights(head, w)
        assert torch.allclose(model(input_ids=IDS).logits, before, atol=1e-6)
    assert not head.original.weight.requires_grad
    release(model, head)
    assert model.get_output_embeddings() is head.original


def test_the_formula_by_hand_and_weights_beside_the_states():
    model = tiny.llama()
    head = attach_conditioned(model, ConditionedHeadConfig(gate=("linear", "products"), r=2), 2, seed=0)
    disturbed(head)
    h, w = torch.randn(5, 32), torch.tensor([0.3, 0.7])
    g = torch.tensor([0.3, 0.3, 0.7, 0.7, 0.84, 0.84])
    want = h @ (head.original.weight + head.b @ torch.diag(g) @ head.a).T
    set_weights(head, w)
    assert torch.allclose(head(h), want, atol=1e-5)
    other = torch.tensor([1.0, 0.0])
    both = head(torch.cat([h, torch.stack([w, other, w, other, w])], dim=1))
    assert torch.allclose(both[0::2], want[0::2], atol=1e-5)
    set_weights(head, other)
    assert torch.allclose(both[1], head(h)[1], atol=1e-5)


def test_rows_have_weights_of_their_own():
    model = tiny.llama()
    head = attach_conditioned(model, CONFIG, 2, seed=0)
    disturbed(head)
    rows = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.1, 0.9]])
    alone = []
    for w in rows:
        set_weights(head, w)
        alone.append(model(input_ids=IDS[:1]).logits[0])
    set_weights(head, rows)
    assert torch.allclose(model(input_ids=IDS).logits, torch.stack(alone), atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    with pytest.raises(ShapeError, match=r"\[2\] or \[B, 2\]"):
        set_weights(head, [0.2, 0.3, 0.5])


def test_stored_and_loaded_it_says_the_same(stored: Path):
    model = attach(tiny.llama(), LoRA(r=2), seed=0)
    head = attach_conditioned(model, CONFIG, 2, seed=0)
    disturbed(model)
    set_weights(head, [0.3, 0.7])
    want = model.eval()(input_ids=IDS).logits
    assert torch.allclose(load_policy(tiny.llama(), stored)(input_ids=IDS).logits, want, atol=1e-5)


def test_at_fixed_weights_it_is_an_ordinary_update(stored: Path):
    update = read_conditioned(stored)
    model = tiny.llama()
    head = put_on(model, update)
    set_weights(head, [0.3, 0.7])
    h = torch.randn(4, 32)
    delta = update.scaled_b([0.3, 0.7]) @ update.a
    assert torch.allclose(head(h), h @ (head.original.weight + delta).T, atol=1e-5)


def test_what_does_not_fit_says_so(stored: Path, tmp_path: Path):
    with pytest.raises(ArtifactError, match="another base model"):
        put_on(tiny.llama(hidden=16), read_conditioned(stored))
    (stored / "policy.json").write_text(json.dumps({"weights": {"helpful": 1.0}}))
    with pytest.raises(ArtifactError, match="a weight for each of helpful, brief"):
        load_policy(tiny.llama(), stored)
    facts = json.loads((stored / "conditioned.json").read_text())
    (stored / "conditioned.json").write_text(json.dumps({**facts, "r": 5}))
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_conditioned(stored)
    model = tiny.llama()
    attach_conditioned(model, CONFIG, 2, seed=0)
    with pytest.raises(ConfigError, match="plain linear head"):
        attach_conditioned(model, CONFIG, 2, seed=0)


def test_one_seed_one_start():
    heads = [attach_conditioned(tiny.llama(), CONFIG, 2, seed=s) for s in (0, 0, 1)]
    assert torch.equal(heads[0].a, heads[1].a)
    assert not torch.equal(heads[0].a, heads[2].a)
    assert np.isfinite(heads[0].a.detach().numpy()).all()
