"""A linear head in closed form: float64, against automatic differentiation; and what must not take it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pareto.core.head import LinearHead
from tests.core import small

N, D, V = 7, 5, 11


def parts(*, bias, seed=0):
    draw = torch.Generator().manual_seed(seed)
    module = nn.Linear(D, V, bias=bias).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=draw)
    states = 3.0 * torch.randn(N, D, dtype=torch.float64, generator=draw)
    target = torch.randint(V, (N,), generator=draw)
    weights = torch.randn(N, dtype=torch.float64, generator=draw)
    return module, states, target, weights


def ordinary(module, states, target, weights, factor):
    """log-probabilities, gradient by the states, gradients by the parameters."""
    states = states.clone().requires_grad_()
    logps = (factor * module(states)).log_softmax(-1)[torch.arange(N), target]
    wanted = [states, *(p for p in module.parameters() if p.requires_grad)]
    return logps.detach(), *torch.autograd.grad((logps * weights).sum(), wanted)


@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize("bias", [True, False])
def test_log_probabilities_and_gradients_are_those_of_autograd(bias, factor):
    module, states, target, weights = parts(bias=bias)
    want = ordinary(module, states, target, weights, factor)
    for before in (None, 2.0):  # gradients are added to what is there
        for parameter in module.parameters():
            parameter.grad = None if before is None else torch.full_like(parameter, before)
        leaf = states.clone().requires_grad_()
        head = LinearHead.of(module, factor)
        assert head is not None
        logps = head.logps(leaf, target)
        (logps * weights).sum().backward()
        torch.testing.assert_close(logps.detach(), want[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(leaf.grad, want[1], rtol=1e-12, atol=1e-12)
        for parameter, gradient in zip(module.parameters(), want[2:]):
            torch.testing.assert_close(parameter.grad, gradient + (before or 0.0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize("bias", [True, False])
def test_slopes_are_the_gradients_of_a_frozen_head(bias, factor):
    module, states, target, weights = parts(bias=bias)
    module.requires_grad_(False)
    head = LinearHead.of(module, factor)
    assert head is not None
    assert head.frozen
    logps, slopes = head.logps_and_slopes(states, target)
    want = ordinary(module, states, target, weights, factor)
    torch.testing.assert_close(logps, want[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes * weights[:, None], want[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1e3, 1e4])
def test_huge_logits_stay_finite(size):
    module, states, target, _ = parts(bias=False)
    head = LinearHead.of(module, 1.0)
    assert head is not None
    logps, slopes = head.logps_and_slopes(size * states, target)
    torch.testing.assert_close(logps, module(size * states).log_softmax(-1)[torch.arange(N), target].detach())
    assert torch.isfinite(slopes).all()
    leaf = (size * states).requires_grad_()
    head.logps(leaf, target).sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("frozen", [True, False])
def test_under_autocast_products_are_half_and_the_rest_is_not(frozen):
    """As near to float32 as autograd under autocast is; gradients of the weight add up in float32."""
    module, states, target, weights = parts(bias=True)
    module, states, weights = module.float(), states.float(), weights.float()
    exact = ordinary(module, states, target, weights, 0.5)
    with torch.autocast("cpu", torch.bfloat16):
        usual = ordinary(module, states, target, weights, 0.5)
        module.requires_grad_(not frozen)
        head = LinearHead.of(module, 0.5)
        assert head is not None
        assert head.matrix.dtype is torch.bfloat16
        if frozen:
            logps, slopes = head.logps_and_slopes(states, target)
            got = [logps, slopes * weights[:, None]]
        else:
            leaf = states.clone().requires_grad_()
            logps = head.logps(leaf, target)
            for _ in range(2):  # what is there stays and is added to
                (head.logps(leaf, target) * weights).sum().backward()
            assert leaf.grad is not None
            assert module.weight.grad is not None
            got = [logps.detach(), leaf.grad / 2, module.weight.grad / 2, module.bias.grad / 2]
    for mine, half, single in zip(got, usual, exact):
        assert mine.dtype is torch.float32
        assert (mine - single).norm() <= 1.5 * (half.float() - single).norm() + 1e-6


def test_no_tokens_have_no_gradient():
    module, _, _, _ = parts(bias=True)
    head = LinearHead.of(module, 1.0)
    assert head is not None
    leaf = torch.zeros(0, D, dtype=torch.float64, requires_grad=True)
    head.logps(leaf, torch.zeros(0, dtype=torch.int64)).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.shape == (0, D)


def test_what_only_the_module_knows_is_left_to_it():
    class Custom(nn.Linear):
        pass

    assert LinearHead.of(Custom(D, V), 1.0) is None
    assert LinearHead.of(nn.Linear(D, V).to(torch.bfloat16), 1.0) is None
    hooked = nn.Linear(D, V)
    hooked.register_forward_hook(lambda module, inputs, output: output * 2)
    assert LinearHead.of(hooked, 1.0) is None
    replaced = nn.Linear(D, V)
    replaced.forward = lambda states: states  # pyright: ignore[reportAttributeAccessIssue]
    assert LinearHead.of(replaced, 1.0) is None
    adapted = small.with_lora(small.llama(), targets=("lm_head",))
    assert LinearHead.of(adapted.get_base_model().get_output_embeddings(), 1.0) is None
    assert LinearHead.of(nn.Linear(D, V), 1.0) is not None
