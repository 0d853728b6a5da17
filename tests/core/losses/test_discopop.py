"""DiscoPOP: its formula, and no overflow."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.discopop import discopop
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), discopop(pairs, beta=0.05, temperature=0.05).tolist()):
        x = 0.05 * (c - r)
        k = sigmoid(x / 0.05)
        assert got == pytest.approx((1 - k) * -math.log(sigmoid(x)) + k * math.exp(-x), rel=1e-9)


def test_before_the_first_step():
    """k = 1/2, k' = 1/(4 tau): d/dx = -k' ln 2 - (1-k)/2 + k' - k, times beta."""
    pairs = at_ratios([0.0], [0.0])
    loss = discopop(pairs, beta=0.05, temperature=0.1)
    assert loss.tolist() == pytest.approx([(1 + math.log(2)) / 2])
    slope = 0.05 * (2.5 * (1 - math.log(2)) - 0.25 - 0.5)
    assert gradients(loss, pairs) == (pytest.approx([slope]), pytest.approx([-slope]))


def test_long_responses_do_not_overflow():
    pairs = at_ratios([-1000.0, 1000.0], [1000.0, -1000.0])
    loss = discopop(pairs, beta=1.0)
    assert loss.tolist() == pytest.approx([2000.0, 0.0])
    assert all(map(math.isfinite, gradients(loss, pairs)[0]))
