"""A front in one job against one job a policy: the same gradients, the same policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pareto import rng
from pareto.align import MODPO
from pareto.align.modpo_front import FrontLoss, Member
from pareto.align.preference_job import Reference, implicit_rewards
from pareto.cells import FitContext
from pareto.core.layout import tiled
from pareto.core.logps import make_scorer
from pareto.core.loop import TrainConfig
from pareto.core.objective import Objective
from pareto.core.packing import pack
from pareto.core.step import backward
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.errors import ConfigError, NumericsError
from pareto.models.adapter_bank import AdapterBank
from pareto.models.adapters import FullFineTuning, LoRA, attach
from pareto.models.lora_factors import read_factors
from pareto.objectives import Objectives
from pareto.tasks.lab import Lab

# Enough steps and a rate at which gradients are clipped, so that clipping together would show.
TRAINING = TrainConfig(steps=12, batch_size=16, lr=5e-3, clip=0.05)
FRONT = [
    {"helpful": 1.0, "brief": 0.0},
    {"helpful": 0.7, "brief": 0.3},
    {"helpful": 0.4, "brief": 0.6},
]


def method(**more: Any) -> MODPO:
    settings = {"beta": 0.5, "mass_anchor": 0.1, "adapter": LoRA(r=4, alpha=8), "training": TRAINING}
    return MODPO(**{**settings, **more})


def context(root: Path, name: str, needs: dict[str, Path]) -> FitContext:
    made = FitContext(root / name, root / f"{name}-scratch", needs)
    made.folder.mkdir(parents=True)
    made.scratch.mkdir()
    return made


def test_the_front_of_one_job_is_the_front_of_many(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    own = method()
    done = {own.plan(small_lab, FRONT, [3])[0].id: lab_reference}
    apart: dict[str, Path] = {}
    for cell in own.plan(small_lab, FRONT, [3])[1:]:
        c = context(tmp_path, cell.id, {n: done[i] for n, i in cell.needs.items()})
        own.train(cell, small_lab, c)
        done[cell.id] = apart[json.dumps(dict(cell.weights or {}), sort_keys=True)] = c.folder
    one = method(jobs="one")
    _, cell = one.plan(small_lab, FRONT, [3])
    c = context(tmp_path, cell.id, {"reference": lab_reference})
    fitted = one.train(cell, small_lab, c)
    assert [p.id for p in fitted.policies] == [f"{cell.id}-{i:03d}" for i in range(3)]
    assert [p.weights for p in fitted.policies] == FRONT
    for policy in fitted.policies:
        alone = apart[json.dumps(dict(policy.weights or {}), sort_keys=True)]
        left, right = read_factors(policy.folder), read_factors(alone)
        assert left.keys() == right.keys()
        for layer, own_factors in left.items():
            theirs = right[layer]
            delta = own_factors.scaled_b @ own_factors.a - theirs.scaled_b @ theirs.a
            assert delta.abs().max() < 2e-5  # float32, twelve steps of Adam
            assert own_factors.b.abs().max() > 1e-3
        assert np.abs(implicit_rewards(policy.folder) - implicit_rewards(alone)).max() < 2e-4
        assert json.loads((policy.folder / "policy.json").read_text())["beta"] == 0.5


def test_gradients_side_by_side_are_those_of_policies_alone(small_lab: Lab, lab_reference: Path):
    """In float64 and after B has left zero: each slice of the bank's gradient against a PEFT model's of its own."""
    reference = Reference(small_lab, lab_reference, FitContext(Path(), Path(), {"reference": lab_reference}))
    pairs, adapter = reference.pairs, LoRA(r=4, alpha=8)
    margin = rng.generator("test", 0).standard_normal(len(pairs.table.responses))
    members = [Member(np.array(w), 0.5, margin * w[1]) for w in ((0.7, 0.3), (0.55, 0.45), (0.9, 0.1))]
    batch = np.arange(24)
    noise = torch.Generator().manual_seed(0)

    def gradients(group: list[Member], b: list[torch.Tensor]) -> list[list[torch.Tensor]]:
        base = reference.model().double()
        bank = AdapterBank(base, adapter, len(group), seed=5).double()
        for layer, values in zip(bank.updates(), b):
            layer.b.data = values.clone()
        loss = FrontLoss(group, pairs, reference.logps, 0.1, "cpu")
        scorer = make_scorer(bank.base)
        rows = pack(pairs.table, loss.examples[batch], pad_token_id=0, share_prompts=scorer.share_prompts)
        blocks = tiled(rows, len(group))
        bank.expect(len(blocks.input_ids))
        index = torch.arange(len(group)).repeat_interleave(len(batch)) * loss.n + torch.from_numpy(
            batch
        ).repeat(len(group))
        backward(scorer, blocks, index, Objective(loss), divisor=len(batch))
        return [[p.grad[k] for p in bank.parameters() if p.grad is not None] for k in range(len(group))]

    shapes = [layer.b.shape[1:] for layer in AdapterBank(reference.model(), adapter, 1, seed=5).updates()]
    b = [0.1 * torch.randn(3, *s, dtype=torch.float64, generator=noise) for s in shapes]
    together = gradients(members, b)
    for k, member in enumerate(members):
        (alone,) = gradients([member], [v[k : k + 1] for v in b])
        assert len(alone) == 2 * len(shapes)
        for one, other in zip(alone, together[k]):
            assert (one - other).abs().max() < 1e-6 * max(1.0, float(other.abs().max()))
    assert any((x - y).abs().max() > 1e-4 for x, y in zip(together[0], together[1]))


def test_a_bank_begins_where_peft_begins(small_lab: Lab, lab_reference: Path):
    model = small_lab.load_reference(lab_reference, "cpu", "float32")[0]
    names = {n for n, _ in model.named_parameters()}
    bank = AdapterBank(model, LoRA(r=4), 3, seed=7)
    fresh = attach(small_lab.load_reference(lab_reference, "cpu", "float32")[0], LoRA(r=4), seed=7)
    theirs = {n: p for n, p in fresh.named_parameters() if "lora_A" in n}
    assert len(theirs) == len(bank.names)
    for name, layer in zip(bank.names, bank.updates()):
        want = theirs[f"base_model.model.{name}.lora_A.default.weight"]
        assert all(torch.equal(layer.a[k], want) for k in range(3))
    ids = torch.arange(1, 7)[None].repeat(6, 1)
    before = bank.base(input_ids=ids).logits
    bank.expect(6)
    assert torch.equal(bank.base(input_ids=ids).logits, before)  # B is zero
    for layer in bank.updates():
        layer.b.data.normal_()
    own = bank.base(input_ids=ids).logits
    assert (own[:2] - own[2:4]).abs().max() > 1e-3
    assert torch.allclose(own[0], own[1])
    with bank.only(1) as base:
        assert torch.allclose(base(input_ids=ids[:1]).logits[0], own[2], atol=1e-5)
    assert torch.equal(bank.base(input_ids=ids[:4]).logits, before[:4])  # not a block for each policy
    assert {n for n, _ in bank.release().named_parameters()} == names


def test_every_policy_is_clipped_on_its_own(small_lab: Lab, lab_reference: Path):
    """Norms 3-4-5 and 0.3-0.4-0.5 at limit 1: the first is divided by 5, the second stays."""
    bank = AdapterBank(small_lab.load_reference(lab_reference, "cpu", "float32")[0], LoRA(r=1), 2, seed=0)
    for p in bank.parameters():
        p.grad = torch.zeros_like(p)
    first, second = list(bank.parameters())[:2]
    first.grad[0, 0, 0], second.grad[0, 0, 0] = 3.0, 4.0
    first.grad[1, 0, 0], second.grad[1, 0, 0] = 0.3, 0.4
    assert float(bank.clip(bank.parameters(), 1.0)) == pytest.approx(2.75)
    assert first.grad[0, 0, 0] == pytest.approx(0.6, abs=1e-5)
    assert second.grad[1, 0, 0] == pytest.approx(0.4)


def labelled(labels: list[list[float]]) -> PreferencePairs:
    n = len(labels)
    table = ResponseTable(Ragged.of([[1]] * n), Ragged.of([[2, 3]] * (2 * n)), np.repeat(np.arange(n), 2))
    rows = np.array(labels, dtype=np.float32)
    return PreferencePairs(Objectives(["o0", "o1"]), table, 2 * np.arange(n), 2 * np.arange(n) + 1, rows)


def test_who_learns_from_which_pair_by_hand():
    """Pair 3 says nothing to anybody; pair 1 nothing under o1; the margin of pair 2 is unknown to the second member."""
    pairs = labelled([[1, -1], [-1, np.nan], [1, 1], [0, np.nan]])
    margin = np.array([2.0, 0.5, 0, 0, np.nan, 0, 0, 0])
    members = [Member(np.array([1.0, 0.0]), 1.0), Member(np.array([0.2, 0.8]), 1.0, margin)]
    loss = FrontLoss(members, pairs, np.zeros(8), 0.0, "cpu")
    assert loss.examples.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert not loss.certain

    class Scored:
        index = torch.arange(6)
        logps = torch.zeros(6, 2)
        lengths = torch.full((6, 2), 2.0)

    values, _ = loss(Scored())  # type: ignore[arg-type]
    # first member: ln 2 each; second: only pair 0, where b won and a's margin is 1.5 ahead, so -1.5 for the winner:
    # -log sigmoid(1.5 / 0.8), three times for the two that are silent
    want = float(np.log1p(np.exp(-1.5 / 0.8)))
    assert values.tolist() == pytest.approx([np.log(2)] * 3 + [3 * want, 0, 0])
    with pytest.raises(NumericsError, match="winner under 'o1'"):
        FrontLoss(members, labelled([[1, np.nan]]), np.zeros(2), 0.0, "cpu")


def test_one_job_wants_adapters():
    with pytest.raises(ValueError, match="frozen base"):
        method(jobs="one", adapter=FullFineTuning())
    with pytest.raises(ValueError, match="ddp, not fsdp2"):
        method(jobs="one", training=TrainConfig(parallel="fsdp2"))


def test_a_front_is_not_started_anew_in_part(small_lab: Lab):
    cell = method(jobs="one").plan(small_lab, FRONT, [0])[1]
    with pytest.raises(ConfigError, match="jobs: each"):
        method(jobs="one").restarted(cell, None, 0.5)


def test_a_finished_part_is_not_trained_again(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    one = method(jobs="one")
    _, cell = one.plan(small_lab, FRONT, [3])
    first = context(tmp_path, "a", {"reference": lab_reference})
    whole = one.train(cell, small_lab, first)
    (first.scratch / "inner.safetensors").unlink()
    again = FitContext(tmp_path / "b", first.scratch, {"reference": lab_reference})
    again.folder.mkdir()
    steps: list[int] = []
    again.progress = lambda done, total, figures: steps.append(done)
    fitted = one.train(cell, small_lab, again)
    assert steps[0] == 0
    assert steps.count(0) == 1  # one training began, not two
    assert fitted.cost == whole.cost
    for left, right in zip(whole.policies, fitted.policies):
        name = "adapter_model.safetensors"
        assert (left.folder / name).read_bytes() == (right.folder / name).read_bytes()
