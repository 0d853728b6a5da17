"""Conservative DPO: its formula, its first gradient, its finite optimum."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.cdpo import cdpo
from pareto.errors import ConfigError
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), cdpo(pairs, beta=0.2, label_smoothing=0.1).tolist()):
        won = sigmoid(0.2 * (c - r))
        assert got == pytest.approx(-0.9 * math.log(won) - 0.1 * math.log(1 - won), rel=1e-9)


def test_before_the_first_step():
    """-beta (1 - 2e) / 2 with beta 0.3, e 0.1."""
    pairs = at_ratios([0.0], [0.0])
    chosen, rejected = gradients(cdpo(pairs, beta=0.3, label_smoothing=0.1), pairs)
    assert (chosen, rejected) == (pytest.approx([-0.12]), pytest.approx([0.12]))


def test_its_optimum_is_finite():
    """beta m* = log((1 - e) / e) = 2.197 at e = 0.1."""
    pairs = at_ratios([math.log(9.0) / 0.5], [0.0])
    assert gradients(cdpo(pairs, beta=0.5, label_smoothing=0.1), pairs)[0] == pytest.approx([0.0], abs=1e-12)


@pytest.mark.parametrize("e", [0.5, -0.1])
def test_labels_that_say_nothing_are_refused(e):
    with pytest.raises(ConfigError, match="label_smoothing"):
        cdpo(random_pairs(), label_smoothing=e)
