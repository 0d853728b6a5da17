"""Adapters as products of thin matrices: what is read, what is refused, what is written for plain PEFT."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pareto.errors import ArtifactError, NumericsError, ShapeError, UsageError
from pareto.models.lora_factors import (
    Factors,
    read_factors,
    reduced,
    weighted_sum,
    why_not,
    write_adapter,
)
from tests.models import adapters_by_hand as by_hand


def product(f: Factors):
    return f.scale * f.b.double() @ f.a.double()


def random(seed, out=7, r=2, inside=5, scale=1.5):
    draw = torch.Generator().manual_seed(seed)
    return Factors(torch.randn(r, inside, generator=draw), torch.randn(out, r, generator=draw), scale)


def test_a_weighted_sum_is_the_sum_of_the_products():
    one, two, three = random(0), random(1, r=3, scale=0.5), random(2)
    got = weighted_sum([{"x": one}, {"x": two, "y": one}, {"x": three}], [0.6, -0.4, 0.0])
    torch.testing.assert_close(
        product(got["x"]), 0.6 * product(one) - 0.4 * product(two), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(product(got["y"]), -0.4 * product(one), rtol=1e-6, atol=1e-6)
    assert (got["x"].rank, got["y"].rank) == (5, 2)  # the third has no share
    with pytest.raises(ShapeError, match="must have one shape"):
        weighted_sum([{"x": one}, {"x": random(0, out=8)}], [0.5, 0.5])


def test_dependent_columns_are_left_out_without_loss():
    one, two = random(0), random(1)
    shared = Factors(one.a, two.b, two.scale)  # as adapters that keep their common first values of A
    for terms, rank in (([one, shared], 2), ([one, two], 4), ([one, two, random(2), random(3)], 5)):
        whole = weighted_sum([{"x": f} for f in terms], [1 / len(terms)] * len(terms))["x"]
        small, lost = reduced(whole)
        assert (small.rank, lost) == (rank, 0.0)  # at most 5, the width of the layer
        torch.testing.assert_close(product(small), product(whole), rtol=1e-5, atol=1e-6)


def test_a_cut_rank_is_the_best_one_and_says_what_it_loses():
    whole = weighted_sum([{"x": random(0)}, {"x": random(1)}], [0.5, 0.5])["x"]
    s = torch.linalg.svdvals(product(whole))
    small, lost = reduced(whole, 2)
    assert small.rank == 2
    assert lost == pytest.approx(float(s[2:].norm() / s.norm()), rel=1e-5)
    gap = (product(small) - product(whole)).norm() / product(whole).norm()
    assert float(gap) == pytest.approx(lost, rel=1e-4)


def test_nothing_added_is_an_adapter_of_zeros():
    small, lost = reduced(Factors(torch.zeros(2, 5), torch.zeros(7, 2)))
    assert lost == 0.0
    assert not product(small).any()


REFUSED = {
    "dora": ({"use_dora": True}, "DoRA rescales"),
    "bias": ({"bias": "lora_only"}, "trains the base's biases"),
    "lora_bias": ({"lora_bias": True, "init_lora_weights": True}, "trained bias beside the factors"),
    "whole layers": (
        {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]},
        "copies of whole layers",
    ),
    "pissa": ({"init_lora_weights": "pissa"}, "change the base"),
    "tokens": ({"trainable_token_indices": [3], "target_modules": ["q_proj"]}, "rows of the embedding"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_no_plain_product_is_refused_by_name(tmp_path, name):
    settings, message = REFUSED[name]
    folder = by_hand.write_adapter(tmp_path / "a", 0, **settings)
    assert message in (why_not(folder) or "")
    with pytest.raises(UsageError, match="cannot be mixed exactly"):
        read_factors(folder)


def edit(folder, change):
    config = json.loads((folder / "adapter_config.json").read_text())
    change(config)
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_what_a_later_version_may_bring_is_refused(tmp_path):
    folder = by_hand.write_ours(tmp_path / "a", 0)
    assert why_not(folder) is None
    edit(folder, lambda c: c.update(use_sines=True))
    assert "use_sines is set: not known" in (why_not(folder) or "")
    edit(folder, lambda c: c.update(use_sines=False, peft_type="IA3"))
    assert "type 'IA3'" in (why_not(folder) or "")
    edit(folder, lambda c: c.update(peft_type="LORA"))
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "base_model.model.lm_head.other": torch.zeros(1)}, weights)
    assert "lm_head.other" in (why_not(folder) or "")
    with pytest.raises(ArtifactError, match="expected an adapter in PEFT's layout"):
        why_not(tmp_path)


def test_broken_factors_are_refused(tmp_path):
    folder = by_hand.write_ours(tmp_path / "a", 0)
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    key = next(k for k in tensors if "lora_A" in k)
    save_file({k: v for k, v in tensors.items() if k != key}, weights)
    with pytest.raises(ArtifactError, match="needs the factors A and B"):
        read_factors(folder)
    save_file({**tensors, key: tensors[key][:1].contiguous()}, weights)
    with pytest.raises(ArtifactError, match=r"must be \[r, in\] and \[out, r\]"):
        read_factors(folder)
    save_file({**tensors, key: tensors[key] * torch.nan}, weights)
    with pytest.raises(NumericsError, match="not finite"):
        read_factors(folder)


def test_a_resized_table_is_not_taken_for_the_base(tmp_path):
    folder = by_hand.write_adapter(tmp_path / "a", 0, target_modules=["embed_tokens"])
    assert set(read_factors(folder, by_hand.reference())) == {"model.embed_tokens"}
    other = by_hand.reference()
    other.get_input_embeddings().weight.data[3, 3] += 1
    for base in (None, other):
        with pytest.raises(UsageError, match=r"a table of layer .* that is not its base's"):
            read_factors(folder, base)


def test_plain_peft_loads_what_is_written_and_computes_the_sum(tmp_path):
    from peft import PeftModel

    folders = [by_hand.write_ours(tmp_path / str(k), k, r=2 + k) for k in range(2)]
    whole = weighted_sum([read_factors(f) for f in folders], [0.7, 0.3])
    for name, targets in (
        ("full", None),
        ("short", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    ):
        out = tmp_path / name
        out.mkdir()
        assert write_adapter(whole, out, targets) == 5
        loaded = PeftModel.from_pretrained(by_hand.reference(), str(out)).eval()
        ids = torch.tensor([[1, 7, 30, 44, 9]])
        with torch.no_grad():
            got, want = (
                loaded(input_ids=ids).logits,
                by_hand.merged(folders, (0.7, 0.3))(input_ids=ids).logits,
            )
        assert float((got - want).norm() / want.norm()) < 1e-6
    with pytest.raises(UsageError, match="at least one updated layer"):
        write_adapter({}, tmp_path)
