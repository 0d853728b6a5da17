"""ASFT in odds form: likelihood of the chosen, unlikelihood of the rejected."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.asft import asft
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs


def test_it_is_likelihood_and_unlikelihood():
    pairs = random_pairs()
    for (_, _, c, r, x, y), got in zip(columns(pairs), asft(pairs, beta=0.3).tolist()):
        assert got == pytest.approx(-1.3 * c / x - 0.3 * math.log(1 - math.exp(r / y)), rel=1e-6)


def test_gradients_by_hand():
    """-(1 + beta) and beta p / (1 - p), one token, log p = -3.5."""
    pairs = at_ratios([-0.5], [0.5])
    p = math.exp(-3.5)
    assert gradients(asft(pairs, beta=0.3), pairs) == (
        pytest.approx([-1.3]),
        pytest.approx([0.3 * p / (1 - p)]),
    )
