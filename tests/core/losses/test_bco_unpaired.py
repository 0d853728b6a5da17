"""Binary classifier on single responses: the pair form taken apart."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.base import UnpairedLogps
from pareto.core.losses.bco import bco
from pareto.core.losses.bco_unpaired import bco_unpaired
from tests.core.losses.pairs import random_pairs, sigmoid


def single(ratios, labels):
    ratios = torch.tensor(ratios, dtype=torch.float64)
    ref = torch.full_like(ratios, -3.0)
    return UnpairedLogps((ref + ratios).requires_grad_(), ref, torch.ones_like(ratios), torch.tensor(labels))


def test_the_formula():
    got = bco_unpaired(single([1.5, -2.0], [True, False]), beta=0.2, shift=0.3)
    want = [-math.log(sigmoid(0.2 * 1.5 - 0.3)), -math.log(sigmoid(0.3 + 0.2 * 2.0))]
    assert got.tolist() == pytest.approx(want)


def test_before_the_first_step():
    """ln 2; -beta / 2 and beta / 2."""
    batch = single([0.0, 0.0], [1, 0])
    loss = bco_unpaired(batch, beta=0.4)
    assert loss.tolist() == pytest.approx([math.log(2)] * 2)
    loss.sum().backward()
    assert batch.logps.grad.tolist() == pytest.approx([-0.2, 0.2])


def test_a_couple_is_the_pair_form():
    pairs = random_pairs()
    ones = torch.ones(7)
    good = UnpairedLogps(pairs.chosen_logps, pairs.ref_chosen_logps, ones, ones)
    bad = UnpairedLogps(pairs.rejected_logps, pairs.ref_rejected_logps, ones, 0 * ones)
    both = bco_unpaired(good, beta=0.2, shift=0.3) + bco_unpaired(bad, beta=0.2, shift=0.3)
    assert both.tolist() == pytest.approx(bco(pairs, beta=0.2, shift=0.3).tolist())
