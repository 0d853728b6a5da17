"""APO-down: its formula and first gradient."""

from __future__ import annotations

import pytest

from pareto.core.losses.apo_down import apo_down
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), apo_down(pairs, beta=0.2).tolist()):
        assert got == pytest.approx(sigmoid(0.2 * c) + 1 - sigmoid(0.2 * (c - r)))


def test_before_the_first_step():
    """(0, beta / 4): the chosen response is left alone, the rejected one lowered."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(apo_down(pairs, beta=0.4), pairs) == (
        pytest.approx([0.0], abs=1e-12),
        pytest.approx([0.1]),
    )
