"""Robust DPO: unbiased under flipped labels, and refused where no correction exists."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.rdpo import rdpo
from pareto.errors import ConfigError
from tests.core.losses.pairs import at_ratios, gradients, random_pairs, sigmoid


def test_its_mean_over_flips_is_dpo_on_clean_labels():
    """(1 - e) L(m) + e L(-m) = -log sigmoid(beta m) for any m."""
    ratios = [-3.0, -0.5, 0.0, 2.0, 7.0]
    right = rdpo(at_ratios(ratios, [0.0] * 5), beta=0.4, label_smoothing=0.2).tolist()
    flipped = rdpo(at_ratios([0.0] * 5, ratios), beta=0.4, label_smoothing=0.2).tolist()
    for m, a, b in zip(ratios, right, flipped):
        assert 0.8 * a + 0.2 * b == pytest.approx(-math.log(sigmoid(0.4 * m)))


def test_before_the_first_step():
    """-beta / (2 (1 - 2e))."""
    pairs = at_ratios([0.0], [0.0])
    assert gradients(rdpo(pairs, beta=0.3, label_smoothing=0.25), pairs)[0] == pytest.approx([-0.3])


@pytest.mark.parametrize("e", [0.5, 0.7, -0.1])
def test_no_correction_exists(e):
    with pytest.raises(ConfigError, match="label_smoothing"):
        rdpo(random_pairs(), label_smoothing=e)


def test_it_has_no_lower_bound():
    """-ls(x) -> 0 and e ls(-x) -> -e x, so L -> -e x / (1 - 2e): -0.1 x 1000 / 0.8 at e = 0.1."""
    assert rdpo(at_ratios([1000.0], [0.0]), beta=1.0, label_smoothing=0.1).tolist() == pytest.approx([-125.0])
