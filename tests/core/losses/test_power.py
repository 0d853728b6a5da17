"""POWER: its formula and the stationarity it comes from."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.power import power
from pareto.core.losses.simpo import simpo
from tests.core.losses.pairs import at_ratios, columns, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (_, _, c, r, x, y), got in zip(columns(pairs), power(pairs, beta=0.5, sft_weight=0.01).tolist()):
        gap = (c + 1) / x - (r + 1) / y
        assert got == pytest.approx(-math.log(sigmoid(0.5 * gap)) - 0.01 * 0.5 * c / x, rel=1e-9)


def test_equal_lengths_are_simpo_without_a_margin():
    pairs = at_ratios([0.2], [-0.7])
    assert power(pairs, beta=0.5, sft_weight=0.0).tolist() == pytest.approx(
        simpo(pairs, beta=0.5, gamma=0.0).tolist()
    )
