"""DPO with a clipped reference: DPO where the reference is right, no reference where it is wrong."""

from __future__ import annotations

import math

import pytest

from pareto.core.losses.cpo import cpo
from pareto.core.losses.dpo import dpo
from pareto.core.losses.dpo_ref_clip import dpo_ref_clip
from tests.core.losses.pairs import random_pairs, sigmoid


def test_the_formula():
    pairs = random_pairs(20)
    got = dpo_ref_clip(pairs, beta=0.3).tolist()
    right = (pairs.ref_chosen_logps > pairs.ref_rejected_logps).tolist()
    assert {True, False} == set(right)
    for i, value in enumerate(got):
        d = float(pairs.chosen_logps[i] - pairs.rejected_logps[i])
        ref = float(pairs.ref_chosen_logps[i] - pairs.ref_rejected_logps[i])
        assert value == pytest.approx(-math.log(sigmoid(0.3 * (d - max(0.0, ref)))), rel=1e-9)
    with_ref, without = dpo(pairs, beta=0.3).tolist(), cpo(pairs, beta=0.3, sft_weight=0.0).tolist()
    assert got == pytest.approx([a if ok else b for ok, a, b in zip(right, with_ref, without)])
