"""CPO: its formula; without likelihood it is DPO with a uniform reference."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.cpo import cpo
from pareto.core.losses.dpo import dpo
from tests.core.losses.pairs import columns, random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs()
    for (_, _, c, r, x, _), got in zip(columns(pairs), cpo(pairs, beta=0.1, sft_weight=0.7).tolist()):
        assert got == pytest.approx(-math.log(sigmoid(0.1 * (c - r))) - 0.7 * c / x, rel=1e-9)


def test_a_uniform_reference_gives_dpo():
    pairs = random_pairs()
    uniform = random_pairs(
        ref_chosen_logps=pairs.chosen_logps * 0 - 5, ref_rejected_logps=pairs.chosen_logps * 0 - 5
    )
    assert cpo(pairs, beta=0.2, sft_weight=0.0).tolist() == pytest.approx(dpo(uniform, beta=0.2).tolist())
