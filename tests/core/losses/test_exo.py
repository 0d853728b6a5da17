"""Exact optimisation: a divergence between two coins."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.exo import exo
from pareto.errors import ConfigError
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), exo(pairs, beta=0.2, label_smoothing=0.1).tolist()):
        q = sigmoid(0.2 * (c - r))
        assert got == pytest.approx(q * math.log(q / 0.9) + (1 - q) * math.log((1 - q) / 0.1), rel=1e-9)


def test_it_is_zero_where_the_policy_is_as_sure_as_the_label():
    pairs = at_ratios([math.log(9.0) / 0.5], [0.0])
    loss = exo(pairs, beta=0.5, label_smoothing=0.1)
    assert loss.tolist() == pytest.approx([0.0], abs=1e-12)
    assert gradients(loss, pairs)[0] == pytest.approx([0.0], abs=1e-12)


@pytest.mark.parametrize("e", [0.0, 0.5])
def test_hard_labels_have_no_divergence(e):
    with pytest.raises(ConfigError, match="label_smoothing"):
        exo(random_pairs(), label_smoothing=e)


def test_before_the_first_step():
    """L = sum q log(q / p) at q = 1/2; dL/d logit = q (1 - q) log(q (1-p) / ((1-q) p)), and (1 - p) / p = 1/9."""
    pairs = at_ratios([0.0], [0.0])
    loss = exo(pairs, beta=0.4, label_smoothing=0.1)
    assert loss.tolist() == pytest.approx([-0.5 * math.log(4 * 0.9 * 0.1)])
    slope = 0.4 * 0.25 * -math.log(9.0)
    assert gradients(loss, pairs) == (pytest.approx([slope]), pytest.approx([-slope]))
