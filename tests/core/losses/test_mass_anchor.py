"""The mass anchor: no pull on a policy that stays on the reference's support, a pull back on one that does not."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.base import PairLogps
from pareto.core.losses.mass_anchor import LARGEST_LOG_RATIO, mass_anchor
from tests.core.losses.pairs import at_ratios, random_pairs

REF = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1], dtype=torch.float64)


def expected(logps):
    """Expected loss over both responses of pairs drawn from the reference; logps [>= 5] of the policy."""
    n = len(REF)
    first, second = torch.arange(n).repeat_interleave(n), torch.arange(n).repeat(n)
    ones = torch.ones(n * n, dtype=torch.float64)
    ref = REF.log()
    pairs = PairLogps(logps[first], logps[second], ref[first], ref[second], ones, ones)
    return (REF[first] * REF[second] * mass_anchor(pairs)).sum()


def test_the_formula():
    chosen, rejected = [0.5, -2.0, 1.0], [0.0, 1.0, -1.0]
    by_hand = [-(math.exp(c) + math.exp(r)) / 2 for c, r in zip(chosen, rejected)]
    assert mass_anchor(at_ratios(chosen, rejected)).tolist() == pytest.approx(by_hand)


def test_before_the_first_step():
    pairs = at_ratios([0.0], [0.0])
    loss = mass_anchor(pairs)
    assert loss.item() == -1.0
    loss.sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pairs.rejected_logps.grad.tolist() == [-0.5]


@pytest.mark.parametrize("seed", range(5))
def test_no_expected_gradient_on_the_support(seed):
    draw = torch.Generator().manual_seed(seed)
    logits = (REF.log() + torch.randn(5, generator=draw, dtype=torch.float64)).requires_grad_()
    loss = expected(logits.log_softmax(0))
    loss.backward()
    assert loss.item() == pytest.approx(-1.0)
    assert logits.grad.abs().max() < 1e-14


def test_mass_that_leaks_is_pushed_back():
    """With a sixth response outside the support, loss = -(1 - leak) and d loss / d logit of the leak = leak (1 - leak)."""
    logits = torch.cat([REF.log(), torch.tensor([0.0], dtype=torch.float64)]).requires_grad_()
    loss = expected(logits.log_softmax(0))
    loss.backward()
    leak = 0.5  # exp(0) beside a total of 1
    assert loss.item() == pytest.approx(-(1 - leak))
    assert logits.grad[-1].item() == pytest.approx(leak * (1 - leak))
    assert (logits.grad[:-1] < 0).all()
    assert logits.grad[:-1].tolist() == pytest.approx((-leak * (1 - leak) * REF).tolist())


def test_huge_ratios_have_finite_gradients():
    pairs = at_ratios([1000.0, -1000.0], [-1000.0, 1000.0])
    loss = mass_anchor(pairs)
    assert loss.tolist() == pytest.approx([-math.exp(LARGEST_LOG_RATIO) / 2] * 2)
    loss.sum().backward()
    assert pairs.chosen_logps.grad.tolist() == [0.0, 0.0]


def test_it_takes_half_precision():
    assert torch.isfinite(mass_anchor(random_pairs(dtype=torch.bfloat16))).all()
