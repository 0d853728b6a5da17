"""MAPL: its three comparisons, and what is left where both prompts are the same."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pareto.core.losses.base import OtherPrompt
from pareto.core.losses.dpo import dpo
from pareto.core.losses.mapl import mapl
from tests.core.losses.pairs import columns, random_pairs, sigmoid


def test_the_formula():
    other = random_pairs(seed=4)
    pairs = random_pairs(
        other_prompt=OtherPrompt(
            other.chosen_logps, other.rejected_logps, *[-21.0 + torch.zeros(7).double()] * 2
        )
    )
    got = mapl(pairs, beta=0.2, intra_weight=0.5, inter_weight=2.0).tolist()
    o = pairs.other_prompt
    for (c, r, *_), oc, orr, value in zip(
        columns(pairs), o.chosen_ratio.tolist(), o.rejected_ratio.tolist(), got
    ):
        by_hand = -math.log(sigmoid(0.2 * (c - r))) - 0.5 * math.log(sigmoid(0.2 * (c - oc)))
        by_hand -= 2.0 * math.log(sigmoid(0.2 * (c - r - oc + orr)))
        assert value == pytest.approx(by_hand, rel=1e-9)


def test_the_same_prompt_twice_teaches_nothing_more():
    """A tabular policy: both comparisons are ln 2 and their gradients cancel."""
    logits = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    logps, ref = logits.log_softmax(0), torch.full((3,), -math.log(3), dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    same = OtherPrompt(logps[:1], logps[1:2], ref[:1], ref[1:2])
    pairs = replace(
        random_pairs(
            1, chosen_logps=logps[:1], rejected_logps=logps[1:2], chosen_lengths=one, rejected_lengths=one
        ),
        ref_chosen_logps=ref[:1],
        ref_rejected_logps=ref[1:2],
        other_prompt=same,
    )
    extra = mapl(pairs, beta=0.7, intra_weight=1.0, inter_weight=3.0) - dpo(pairs, beta=0.7)
    assert extra.item() == pytest.approx(4 * math.log(2))
    extra.sum().backward()
    assert logits.grad.tolist() == pytest.approx([0.0] * 3, abs=1e-15)
