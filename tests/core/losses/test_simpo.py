"""SimPO: its formula, its margin, no reference."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from pareto.core.losses.simpo import simpo
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (_, _, c, r, x, y), got in zip(columns(pairs), simpo(pairs, beta=2.0, gamma=0.5).tolist()):
        assert got == pytest.approx(-math.log(sigmoid(2.0 * (c / x - r / y) - 0.5)), rel=1e-9)


def test_at_equal_means():
    """-beta sigmoid(gamma) per mean: here both responses have one token and log-probability -3.5."""
    pairs = at_ratios([-0.5], [0.5])
    assert gradients(simpo(pairs, beta=2.0, gamma=0.5), pairs)[0] == pytest.approx([-2.0 * sigmoid(0.5)])


def test_every_token_gets_its_share():
    """A response of 4 tokens and log-probability -14 has mean -3.5 too, and a quarter of the pull on its sum."""
    pairs = at_ratios([-11.0], [0.5])
    four = replace(pairs, chosen_lengths=pairs.chosen_lengths * 4)
    assert gradients(simpo(four, beta=2.0, gamma=0.5), four)[0] == pytest.approx([-2.0 * sigmoid(0.5) / 4])
