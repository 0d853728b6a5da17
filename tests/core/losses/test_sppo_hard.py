"""SPPO with hard labels: its formula and its minimum."""

from __future__ import annotations

import pytest

from pareto.core.losses.sppo_hard import sppo_hard
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), sppo_hard(pairs, beta=0.25).tolist()):
        assert got == pytest.approx((c - 2) ** 2 + (r + 2) ** 2)


def test_its_minimum():
    """c = 1 / (2 beta), r = -1 / (2 beta)."""
    pairs = at_ratios([2.0], [-2.0])
    loss = sppo_hard(pairs, beta=0.25)
    assert loss.tolist() == [0.0]
    assert gradients(loss, pairs) == ([0.0], [0.0])
