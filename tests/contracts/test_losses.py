"""What every registered loss keeps, whatever it computes."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from pareto.core.losses import LOSSES
from pareto.core.losses.base import WHERE_COLUMNS_COME_FROM, PairLogps, batch_kind, needs_of
from pareto.core.losses.module import LOSS_MODULES, LossModule, Setting
from pareto.core.token_extras import live_reference
from pareto.errors import DataError
from tests.core.losses.pairs import complete_batch, each, rows, tensors
from tests.core.small import llama

B, T = 6, 5
NAMES = LOSSES.names()
COUPLED = [n for n in NAMES if needs_of(LOSSES.get(n)).coupled]
SEPARATE = [n for n in NAMES if n not in COUPLED]
MODULES = LOSS_MODULES.names()


def ordinary(name, dtype=torch.float64, *, scale=1.0):
    """A batch of ordinary responses for the loss."""
    draw = torch.Generator().manual_seed(3)
    policy, reference = (-scale * torch.rand(2, B, T, generator=draw, dtype=torch.float64) for _ in range(2))
    lengths = torch.tensor([[T, 1, 2, 3, 4, T], [1, T, 2, 4, 3, T]])
    batch = complete_batch(batch_kind(LOSSES.get(name)), policy, reference, lengths)
    return each(batch, lambda x: x.to(dtype) if x.is_floating_point() else x)


def extreme(name, dtype):
    """All log-ratios in {-1000, 1000}, lengths in {1, 4096}, log-probabilities of policy or reference down to -2500."""
    ratio = torch.tensor([[1000.0, -1000, 1000, -1000], [-1000, 1000, 1000, -1000]], dtype=torch.float64)
    lengths = torch.tensor([[1, 4096, 4096, 1], [4096, 1, 4096, 1]])
    real = torch.arange(4096) < lengths[..., None]
    reference = torch.where(real, (-1500.0 / lengths)[..., None].double(), 0.0)
    policy = torch.where(real, ((-1500.0 + ratio) / lengths)[..., None], 0.0)
    batch = complete_batch(batch_kind(LOSSES.get(name)), policy, reference, lengths)
    return each(batch, lambda x: x.to(dtype) if x.is_floating_point() else x)


def with_gradients(batch):
    """Every floating-point tensor of the batch is a leaf that takes a gradient."""
    return each(batch, lambda x: x.detach().clone().requires_grad_() if x.is_floating_point() else x)


def of_policy(batch):
    """Name -> gradient of what the policy or a module says, where the loss read it."""
    return {
        name: value.grad
        for name, value in tensors(batch).items()
        if "ref" not in name and "lengths" not in name and value.grad is not None
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_loss_an_example_finite_and_differentiable(name, dtype):
    batch = with_gradients(ordinary(name, dtype))
    loss = LOSSES.get(name)(batch)
    assert loss.shape == (B,)
    assert loss.dtype in (dtype, torch.float32)
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    gradients = of_policy(batch)
    assert all(torch.isfinite(g).all() for g in gradients.values())
    assert any(g.abs().sum() > 0 for g in gradients.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_a_constant(name):
    batch = with_gradients(ordinary(name))
    LOSSES.get(name)(batch).sum().backward()
    assert [n for n, x in tensors(batch).items() if "ref_" in n and x.grad is not None] == []


@pytest.mark.parametrize("name", [n for n in NAMES if batch_kind(LOSSES.get(n)) is PairLogps])
def test_it_says_whether_it_reads_the_reference(name):
    loss, batch = LOSSES.get(name), ordinary(name)
    draw = torch.Generator().manual_seed(9)
    moved = {
        f.name: getattr(batch, f.name) * (1 + torch.rand(getattr(batch, f.name).shape, generator=draw))
        for f in fields(PairLogps)
        if f.name.startswith("ref_")
    }
    same = torch.equal(loss(batch), loss(replace(batch, **moved)))
    assert same != needs_of(loss).reference


@pytest.mark.parametrize("name", SEPARATE)
def test_examples_do_not_see_each_other(name):
    loss, batch = LOSSES.get(name), ordinary(name)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    whole = loss(batch)
    torch.testing.assert_close(loss(rows(batch, order)), whole[order])
    torch.testing.assert_close(loss(rows(batch, order[:1])), whole[order[:1]])


@pytest.mark.parametrize("name", COUPLED)
def test_a_coupled_loss_sees_the_others_and_not_their_order(name):
    loss, batch = LOSSES.get(name), ordinary(name)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    whole = loss(batch)
    torch.testing.assert_close(loss(rows(batch, order)), whole[order])
    assert not torch.allclose(loss(rows(batch, order[:2])), whole[order[:2]])


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_close_to_single(name):
    exact, half = (LOSSES.get(name)(ordinary(name, d)).float() for d in (torch.float32, torch.bfloat16))
    torch.testing.assert_close(half, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_extreme_ratios_and_lengths_stay_finite(name, dtype):
    batch = with_gradients(extreme(name, dtype))
    loss = LOSSES.get(name)(batch)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    gradients = of_policy(batch)
    assert gradients
    assert [n for n, g in gradients.items() if not torch.isfinite(g).all()] == []


@pytest.mark.parametrize(
    ("name", "column"), [(n, c) for n in NAMES for c in needs_of(LOSSES.get(n)).columns], ids="-".join
)
def test_what_is_missing_is_named(name, column):
    assert column in WHERE_COLUMNS_COME_FROM
    with pytest.raises(DataError, match=f"needs '{column}'"):
        LOSSES.get(name)(replace(ordinary(name), **{column: None}))


def module(name) -> LossModule:
    """The loss's module, for a run that has all a module may ask for."""
    return LOSS_MODULES.get(name)(Setting(B, live_reference(llama()), n_degrees=3, n_features=4, seed=1))  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_belongs_to_a_loss_and_its_state_is_plain_tensors(name):
    assert name in NAMES
    first = module(name)
    for value in first.state_dict().values():
        value += 0.5
    stored = load_safetensors(save_safetensors(first.state_dict()))
    second = module(name)
    second.load_state_dict(stored)
    for key, value in second.state_dict().items():
        assert torch.equal(value, first.state_dict()[key]), key


@pytest.mark.parametrize("name", MODULES)
def test_a_completed_batch_is_what_the_loss_wants(name):
    """And gradients reach every parameter of the module."""
    batch = replace(ordinary(name, torch.float32), target=None, masks=None)
    learned, draw = module(name), torch.Generator().manual_seed(0)
    states = torch.rand(B, T, 3, 32, generator=draw)
    extras = {}
    for which, extra in learned.token_extras().items():
        value = (
            learned.token_mask(states.flatten(0, 1), which.removesuffix("_mask")).view(B, T)
            if hasattr(extra, "_which")
            else batch.chosen_token_kl
        )
        extras[which] = (value, value * 0.5)
    complete = learned.complete(batch, extras)
    loss = LOSSES.get(name)(complete)
    assert torch.isfinite(loss).all()
    loss.sum().backward() if loss.requires_grad else None
    unreached = [n for n, p in learned.named_parameters() if p.grad is None]
    assert unreached == []
    with torch.no_grad():
        learned.advance(complete)
