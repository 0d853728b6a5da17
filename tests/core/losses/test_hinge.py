"""Hinge: its formula and where it stops."""

from __future__ import annotations

import pytest

from pareto.core.losses.hinge import hinge
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs


def test_the_formula():
    pairs = random_pairs()
    for (c, r, *_), got in zip(columns(pairs), hinge(pairs, beta=0.3).tolist()):
        assert got == pytest.approx(max(0.0, 1.0 - 0.3 * (c - r)))


def test_it_pushes_until_the_margin_is_reached():
    pairs = at_ratios([0.0, 4.0], [0.0, 0.0])
    assert gradients(hinge(pairs, beta=0.3), pairs) == (pytest.approx([-0.3, 0.0]), pytest.approx([0.3, 0.0]))


def test_before_the_first_step():
    pairs = at_ratios([0.0], [0.0])
    assert hinge(pairs, beta=0.3).tolist() == [1.0]
