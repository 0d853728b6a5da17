"""RPO: DPO and likelihood."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.rpo import rpo
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for average in (False, True):
        got = rpo(pairs, beta=0.1, sft_weight=0.02, average=average).tolist()
        for (c, r, logp, _, x, _), value in zip(columns(pairs), got):
            likelihood = logp / x if average else logp
            assert value == pytest.approx(-math.log(sigmoid(0.1 * (c - r))) - 0.02 * likelihood, rel=1e-9)


def test_before_the_first_step():
    """(-(beta / 2 + eta), beta / 2)."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(rpo(pairs, beta=0.1, sft_weight=0.02), pairs) == (
        pytest.approx([-0.07]),
        pytest.approx([0.05]),
    )
