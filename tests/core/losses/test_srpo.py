"""SRPO: its formula, and zero loss and gradient at the fixed point of policy and reviser."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pareto.core.losses.base import Revisions
from pareto.core.losses.srpo import srpo
from tests.core.losses.pairs import at_ratios, columns, random_pairs


def revised(pairs, ratio):
    """The pairs with these [B, 2, 2] log-ratios of revisions."""
    logps = torch.as_tensor(ratio, dtype=torch.float64).clone().requires_grad_()
    return replace(pairs, revisions=Revisions(logps, torch.zeros_like(logps).detach()))


def test_the_formula():
    pairs = random_pairs()
    ratio = torch.linspace(-2, 3, 28, dtype=torch.float64).view(7, 2, 2)
    got = srpo(revised(pairs, ratio), beta=0.3, alpha=0.25).tolist()
    for (c, r, *_), ((cc, rc), (cr, rr)), value in zip(columns(pairs), ratio.tolist(), got):
        policy = (0.3 * (c - r) - 0.3 * (cc - rr)) ** 2
        # which of the two is better is known: 1[r beats c] = 0, 1[c beats r] = 1
        revision = (0 - 0.5 - 0.3 * (rc - cc)) ** 2 + (1 - 0.5 - 0.3 * (cr - rr)) ** 2
        assert value == pytest.approx(0.75 * policy + 0.25 * revision / 2)


def test_before_the_first_step():
    """Nothing is revised yet: alpha (1/4 + 1/4) / 2, whatever beta."""
    assert srpo(revised(at_ratios([0.0], [0.0]), [[[0, 0], [0, 0]]]), alpha=0.6).tolist() == pytest.approx(
        [0.15]
    )


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_no_loss_at_the_fixed_point(beta):
    """A certain preference: lr(r|c) - lr(c|c) = -1/(2 beta), lr(c|r) - lr(r|r) = 1/(2 beta), lr(c) - lr(r) = lr(c|c) - lr(r|r)."""
    kept, rewritten = 0.4, -0.3
    given = [[[kept, kept - 0.5 / beta], [rewritten + 0.5 / beta, rewritten]]]
    pairs = revised(at_ratios([1.0], [1.0 - (kept - rewritten)]), given)
    loss = srpo(pairs, beta=beta)
    assert loss.tolist() == pytest.approx([0.0], abs=1e-20)
    loss.sum().backward()
    assert pairs.chosen_logps.grad.tolist() == pytest.approx([0.0], abs=1e-12)
    assert pairs.revisions.logps.grad.flatten().tolist() == pytest.approx([0.0] * 4, abs=1e-12)


def test_in_expectation_the_reviser_rests_at_the_preference():
    """Under a preference p = P(y1 beats y2) the mean over labels rests at lr(y2|y1) - lr(y1|y1) = (P(y2 beats y1) - 1/2) / beta."""
    beta, p = 0.5, 0.8
    given = torch.tensor(
        [[0.2, 0.2 + (0.2 - 0.5) / beta], [-0.1 + (0.8 - 0.5) / beta, -0.1]], dtype=torch.float64
    )
    given.requires_grad_()
    own = at_ratios([0.0], [-0.3])
    swapped = at_ratios([-0.3], [0.0])

    def loss(pairs, table):
        return srpo(
            replace(pairs, revisions=Revisions(table[None], torch.zeros(1, 2, 2).double())), beta=beta
        )

    first = loss(own, given)  # y1 chosen
    second = loss(swapped, given.flip(0, 1))  # y2 chosen
    (p * first + (1 - p) * second).sum().backward()
    assert given.grad.flatten().tolist() == pytest.approx([0.0] * 4, abs=1e-12)
