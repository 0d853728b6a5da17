"""KTO: its formula, its baseline, its first gradient."""

from __future__ import annotations

import pytest
import torch

from pareto.core.losses.apo_zero import apo_zero
from pareto.core.losses.base import UnpairedLogps
from pareto.core.losses.kto import kto
from tests.core.losses.pairs import at_ratios, sigmoid


def single(ratios, labels, baseline=None):
    """Responses with these log-ratios, one token each."""
    ratios = torch.tensor(ratios, dtype=torch.float64)
    ref = torch.full_like(ratios, -3.0)
    z = None if baseline is None else torch.tensor(baseline, dtype=torch.float64)
    return UnpairedLogps(
        (ref + ratios).requires_grad_(), ref, torch.ones_like(ratios), torch.tensor(labels), z
    )


def test_the_formula():
    batch = single([1.5, -2.0, 0.3], [True, False, True], 0.7)
    by_hand = [
        1.3 * (1 - sigmoid(0.2 * (1.5 - 0.7))),
        0.8 * (1 - sigmoid(0.2 * (0.7 + 2.0))),
        1.3 * (1 - sigmoid(0.2 * (0.3 - 0.7))),
    ]
    got = kto(batch, beta=0.2, desirable_weight=1.3, undesirable_weight=0.8)
    assert got.tolist() == pytest.approx(by_hand)


def test_before_the_first_step():
    """Half of each weight; -beta / 4 for a desirable response and beta / 4 for an undesirable one."""
    batch = single([0.0, 0.0], [1, 0], 0.0)
    loss = kto(batch, beta=0.4)
    assert loss.tolist() == [0.5, 0.5]
    loss.sum().backward()
    assert batch.logps.grad.tolist() == pytest.approx([-0.1, 0.1])


def test_a_negative_baseline_counts_as_none_and_takes_no_gradient():
    below, none = (kto(single([0.5], [True], z)).item() for z in (-2.0, None))
    assert below == none
    baseline = torch.tensor(0.4, requires_grad=True)
    batch = single([0.5], [True])
    kto(UnpairedLogps(batch.logps, batch.ref_logps, batch.lengths, batch.label, baseline)).sum().backward()
    assert baseline.grad is None


def test_without_a_baseline_a_couple_is_apo_zero():
    pairs = at_ratios([0.4, -1.0], [0.2, 0.9])
    good = kto(single([0.4, -1.0], [True, True]), beta=0.3)
    bad = kto(single([0.2, 0.9], [False, False]), beta=0.3)
    assert (good + bad).tolist() == pytest.approx(apo_zero(pairs, beta=0.3).tolist())
