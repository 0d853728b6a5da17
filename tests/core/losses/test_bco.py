"""Binary classifier: its formula, its shift, its first gradient."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.bco import bco
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), bco(pairs, beta=0.2, shift=0.3).tolist()):
        by_hand = -math.log(sigmoid(0.2 * c - 0.3)) - math.log(sigmoid(0.3 - 0.2 * r))
        assert got == pytest.approx(by_hand, rel=1e-9)


def test_before_the_first_step():
    """(-beta / 2, beta / 2)."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(bco(pairs, beta=0.4), pairs) == (pytest.approx([-0.2]), pytest.approx([0.2]))
