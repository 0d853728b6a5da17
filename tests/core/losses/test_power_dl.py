"""POWER-DL: POWER as a limit, where it rests, and labels that are remembered by example."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from pareto.core.losses.module import Setting
from pareto.core.losses.power import power, power_logit
from pareto.core.losses.power_dl import DynamicLabels, moved_labels, power_dl
from pareto.errors import ConfigError
from tests.core.losses.pairs import at_ratios, columns, gradients, random_pairs, sigmoid


def test_the_formula():
    labels = torch.linspace(0.1, 1.0, 7, dtype=torch.float64)
    pairs = random_pairs(target=labels)
    got = power_dl(pairs, beta=0.5, sft_weight=0.01).tolist()
    for (_, _, c, r, x, y), label, value in zip(columns(pairs), labels.tolist(), got):
        won = sigmoid(0.5 * ((c + 1) / x - (r + 1) / y))
        by_hand = -label * math.log(won) - (1 - label) * math.log(1 - won) - 0.01 * 0.5 * c / x
        assert value == pytest.approx(by_hand, rel=1e-9)


def test_labels_of_one_are_power():
    pairs = random_pairs()
    one = replace(pairs, target=torch.ones(7, dtype=torch.float64))
    assert power_dl(pairs).tolist() == power_dl(one).tolist() == pytest.approx(power(pairs).tolist())


def test_it_rests_where_the_policy_says_what_the_label_says():
    pairs = at_ratios([0.7], [-0.4])
    settled = replace(pairs, target=power_logit(pairs, 0.8).detach().sigmoid())
    loss = power_dl(settled, beta=0.8, sft_weight=0.0)
    assert gradients(loss, pairs)[0] == pytest.approx([0.0], abs=1e-15)


def test_labels_move_towards_the_policy():
    pairs = at_ratios([0.7], [-0.4])
    won = power_logit(pairs, 0.8).sigmoid().item()
    moved = moved_labels(torch.tensor([0.6]), pairs, beta=0.8, gamma=0.25)
    assert moved.tolist() == pytest.approx([0.75 * 0.6 + 0.25 * won])
    assert not moved.requires_grad
    assert moved_labels(torch.tensor([0.6]), pairs, beta=0.8, gamma=0.0).tolist() == pytest.approx([0.6])


def test_each_example_has_a_label_of_its_own():
    module = DynamicLabels(Setting(5), beta=0.8, gamma=0.5)
    pairs = random_pairs(2, dtype=torch.float32, example_id=torch.tensor([3, 0]))
    assert module.complete(pairs, {}).target.tolist() == [1.0, 1.0]
    module.advance(pairs)
    won = power_logit(pairs, 0.8).sigmoid().tolist()
    want = [(1 + won[1]) / 2, 1.0, 1.0, (1 + won[0]) / 2, 1.0]
    assert module.state_dict()["labels"].tolist() == pytest.approx(want)
    assert module.complete(pairs, {}).target.tolist() == pytest.approx([want[3], want[0]])


def test_no_speed_above_one():
    with pytest.raises(ConfigError, match="gamma"):
        DynamicLabels(Setting(5), gamma=1.5)
