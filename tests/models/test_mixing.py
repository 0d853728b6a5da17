"""Mixtures against weights merged by hand, PEFT's own forward pass at the vertices, and rows beside each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pareto.errors import ArtifactError, ShapeError, UsageError
from pareto.models.adapters import load_policy
from pareto.models.lora_factors import read_factors
from pareto.models.mixing import AdapterMixture, average_of_factors
from pareto.models.parameter_mixing import ParameterMixture, merge
from tests.models import adapters_by_hand as by_hand

IDS = torch.tensor([[1, 7, 30, 44, 9], [1, 200, 31, 3, 12], [1, 5, 5, 80, 256]])
KINDS = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "ranks": {"rank_pattern": {"q_proj": 3}, "alpha_pattern": {r"layers\.0\.self_attn\.v_proj": 1}},
    "embedding": {"target_modules": ["embed_tokens", "v_proj", "lm_head"]},
}


def relative(got, want):
    return float((got - want).norm() / want.norm())


def logits(model, ids=IDS, **more):
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


@pytest.fixture(scope="module", params=sorted(KINDS))
def adapters(request, tmp_path_factory):
    """Three adapters of one kind, the last of another rank and on other layers where the kind leaves room."""
    root = tmp_path_factory.mktemp(request.param)
    more = (
        [{}, {}, {"r": 3, "target_modules": ["q_proj", "up_proj"]}] if request.param == "plain" else [{}] * 3
    )
    return [by_hand.write_adapter(root / str(k), k, **KINDS[request.param] | m) for k, m in enumerate(more)]


@pytest.fixture(scope="module")
def mixture(adapters):
    return AdapterMixture(
        by_hand.reference(), [read_factors(f, by_hand.reference()) for f in adapters]
    ).eval()


def test_a_vertex_is_that_adapter_as_peft_computes_it(adapters, mixture):
    for k, folder in enumerate(adapters):
        want = logits(load_policy(by_hand.reference(), folder))
        assert relative(logits(mixture, coefficients=torch.eye(3)[k]), want) < 1e-6
        assert relative(logits(by_hand.reference()), want) > 1e-2  # the adapter does something
    assert torch.equal(logits(mixture, coefficients=torch.zeros(3)), logits(by_hand.reference()))


@pytest.mark.parametrize("c", [(0.5, 0.3, 0.2), (0.7, 0.0, 0.3), (1.4, -0.4, 0.0)])
def test_a_mixture_is_the_merged_weights(adapters, mixture, c):
    want = logits(by_hand.merged(adapters, c))
    c = torch.tensor(c, dtype=torch.float64)
    tolerance = 1e-6 if c.min() >= 0 else 3e-6  # outside the simplex rounding grows with sum |c|
    assert relative(logits(mixture, coefficients=c), want) < tolerance
    nearby = c + torch.tensor([0.01, -0.01, 0.0])
    assert relative(logits(mixture, coefficients=nearby), want) > 1e-4  # the test would see a wrong share


def test_every_row_has_its_own_coefficients(mixture):
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    together = logits(mixture, coefficients=rows)
    for row, c in enumerate(rows):
        alone = logits(mixture, IDS[row : row + 1], coefficients=c)[0]
        assert relative(together[row], alone) < 1e-6


def test_a_policy_without_share_is_not_computed(adapters):
    """0 * infinity would be NaN: what has no share must not enter the sum."""
    updates = [read_factors(f, by_hand.reference()) for f in adapters]
    mixture = AdapterMixture(by_hand.reference(), updates).eval()
    want = logits(mixture, coefficients=torch.tensor([0.5, 0.5, 0.0]))
    for module in mixture.updates:
        for k, (a, b) in list(module._parts.items()):
            if k == 2:
                module._parts[k] = (a * torch.inf, b)
    assert torch.equal(logits(mixture, coefficients=torch.tensor([0.5, 0.5, 0.0])), want)


def test_half_precision_bases_mix_in_float32(adapters):
    """The update of a bfloat16 model is computed in float32 and rounded once."""
    base = by_hand.reference().bfloat16()
    mixture = AdapterMixture(base, [read_factors(f, by_hand.reference()) for f in adapters]).eval()
    whole = AdapterMixture(
        by_hand.reference(), [read_factors(f, by_hand.reference()) for f in adapters]
    ).eval()
    c = torch.tensor([0.4, 0.3, 0.3])
    assert all(a.dtype == torch.float32 for m in mixture.updates for a, _ in m._parts.values())
    assert relative(logits(mixture, coefficients=c).float(), logits(whole, coefficients=c)) < 0.05


def test_averaged_factors_are_another_model_between_the_vertices_only(tmp_path):
    folders = [by_hand.write_ours(tmp_path / str(k), k) for k in range(2)]
    updates = [read_factors(f) for f in folders]
    averaged = AdapterMixture(by_hand.reference(), updates, combine=average_of_factors).eval()
    exact = AdapterMixture(by_hand.reference(), updates).eval()
    for c in torch.eye(2):
        assert relative(logits(averaged, coefficients=c), logits(exact, coefficients=c)) < 1e-6
    c = torch.tensor([0.6, 0.4])
    assert relative(logits(averaged, coefficients=c), logits(exact, coefficients=c)) > 1e-2
    # the definition, written into the weights of a base
    layer = {
        name: type(f)(0.6 * f.a + 0.4 * updates[1][name].a, 0.6 * f.b + 0.4 * updates[1][name].b, f.scale)
        for name, f in updates[0].items()
    }
    want = logits(merge(by_hand.reference(), layer))
    assert relative(logits(averaged, coefficients=c), want) < 1e-6
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.4], [0.5, 0.5]])
    assert relative(logits(averaged, coefficients=rows)[1], want[1]) < 1e-6


def test_whole_models_mix_by_their_parameters(tmp_path):
    folders = [by_hand.write_model(tmp_path / str(k), k) for k in range(2)]
    models = [load_policy(by_hand.reference(), f) for f in folders]
    mixture = ParameterMixture(by_hand.reference(), folders).eval()
    for k in range(2):
        assert torch.equal(logits(mixture, coefficients=torch.eye(2)[k]), logits(models[k]))
    for c in ((0.3, 0.7), (0.3, 0.3)):  # where shares do not sum to 1 the reference has the rest
        want = by_hand.reference()
        parts = [dict(m.named_parameters()) for m in models]
        for name, p in want.named_parameters():
            start = p.data.double()
            p.data = (start + sum(s * (q[name].double() - start) for s, q in zip(c, parts))).float()
        assert relative(logits(mixture, coefficients=torch.tensor(c)), logits(want)) < 1e-6
    with pytest.raises(UsageError, match="one vector of coefficients at a time"):
        logits(mixture, coefficients=torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]]))
    other = by_hand.write_reference(tmp_path / "wide", by_hand.reference(hidden=64))
    with pytest.raises(ArtifactError, match=r"must be .* as in the reference"):
        ParameterMixture(by_hand.reference(), [other])


def test_layers_that_flatten_the_batch_take_one_vector(adapters):
    class Flat(nn.Module):
        """A model whose rows lie one after another in its layers, as in front of experts."""

        def __init__(self):
            super().__init__()
            self.inner = by_hand.reference()
            self.config = self.inner.config

        def forward(self, input_ids, use_cache=True):
            return self.inner(input_ids=input_ids.flatten()[None], use_cache=False)

    model = Flat()
    updates = [
        {f"inner.{n}": f for n, f in read_factors(folder, by_hand.reference()).items()} for folder in adapters
    ]
    mixture = AdapterMixture(model, updates)
    assert not mixture.per_row
    with pytest.raises(UsageError, match="one vector of coefficients"), mixture.at(torch.eye(3)):
        pass


def test_wrong_coefficients_and_layers_are_refused(adapters, mixture):
    for bad in (torch.ones(2), torch.tensor([[0.5, 0.5, np.nan]]), torch.ones(1, 1, 3)):
        with pytest.raises(ShapeError, match="expected finite coefficients"), mixture.at(bad):
            pass
    with pytest.raises(UsageError, match="another size needs other coefficients"):
        logits(mixture, IDS[:2], coefficients=torch.eye(3))
    with pytest.raises(ArtifactError, match="does not have, such as 'nowhere'"):
        AdapterMixture(
            by_hand.reference(),
            [{"nowhere": next(iter(read_factors(adapters[0], by_hand.reference()).values()))}],
        )


def test_coefficients_end_with_their_block(mixture):
    with mixture.at(torch.tensor([0.0, 1.0, 0.0])):
        inside = logits(mixture)
        with mixture.at(torch.tensor([1.0, 0.0, 0.0])):
            assert not torch.equal(logits(mixture), inside)
        assert torch.equal(logits(mixture), inside)
    assert torch.equal(logits(mixture), logits(by_hand.reference()))


def test_tied_weights_are_not_merged(tmp_path):
    tied = by_hand.write_adapter(tmp_path / "tied", 0, target_modules=["embed_tokens"])
    with pytest.raises(UsageError, match="tied to another layer's"):
        merge(by_hand.reference(), read_factors(tied, by_hand.reference()))
