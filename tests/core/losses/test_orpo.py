"""ORPO: its formula, its gradient, probabilities near one."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.orpo import orpo
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs


def odds(mean):
    return math.exp(mean) / (1 - math.exp(mean))


def test_the_formula():
    pairs = random_pairs()
    for (_, _, c, r, x, y), got in zip(columns(pairs), orpo(pairs, beta=0.3).tolist()):
        ratio = odds(c / x) / odds(r / y)
        assert got == pytest.approx(-c / x + 0.3 * math.log(1 + 1 / ratio), rel=1e-6)


def test_at_equal_probabilities():
    """-1 from the likelihood and -beta / 2 / (1 - p) from the odds; here log p = -3.5 on one token."""
    pairs = at_ratios([-0.5], [0.5])
    slope = 0.3 * 0.5 / (1 - math.exp(-3.5))
    assert gradients(orpo(pairs, beta=0.3), pairs) == (pytest.approx([-1 - slope]), pytest.approx([slope]))


def test_certain_responses_stay_finite():
    pairs = at_ratios([3.0], [4.0])  # log p = 0 on both
    assert all(map(math.isfinite, (*orpo(pairs).tolist(), *gradients(orpo(pairs), pairs)[0])))
