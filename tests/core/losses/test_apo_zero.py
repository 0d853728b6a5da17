"""APO-zero: its formula and first gradient."""

from __future__ import annotations

import pytest

from pareto.core.losses.apo_zero import apo_zero
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), apo_zero(pairs, beta=0.2).tolist()):
        assert got == pytest.approx(1 - sigmoid(0.2 * c) + sigmoid(0.2 * r))


def test_before_the_first_step():
    """(-beta / 4, beta / 4)."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(apo_zero(pairs, beta=0.4), pairs) == (pytest.approx([-0.1]), pytest.approx([0.1]))


def test_it_lets_go_of_what_is_far_away():
    """sigmoid' < 1e-8 beyond 20: whichever way a response has gone."""
    pairs = at_ratios([50.0, -50.0], [-50.0, 50.0])
    chosen, rejected = gradients(apo_zero(pairs, beta=0.4), pairs)
    assert max(map(abs, chosen + rejected)) < 1e-8
