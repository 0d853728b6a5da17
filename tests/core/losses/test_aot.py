"""AOT: its sorted comparisons by hand, its optimum, and which pair a figure belongs to."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.aot import aot, aot_unpaired
from pareto.core.losses.base import PairLogps
from pareto.core.losses.dpo import dpo
from pareto.errors import ConfigError
from tests.core.losses.pairs import at_ratios, gradients, random_pairs, sigmoid


def violation(high, low, beta, e):
    """[B] by sorting lists."""
    order = sorted(range(len(high)), key=lambda i: high[i])
    out = [0.0] * len(high)
    for i, opponent in zip(order, sorted(low)):
        won = sigmoid(beta * (high[i] - opponent))
        out[i] = -(1 - e) * math.log(won) - e * math.log(1 - won)
    return out


@pytest.mark.parametrize("e", [0.0, 0.2])
def test_the_paired_formula(e):
    pairs = random_pairs()
    gap = (pairs.chosen_logps - pairs.rejected_logps).tolist()
    ref = (pairs.ref_chosen_logps - pairs.ref_rejected_logps).tolist()
    got = aot(pairs, beta=0.3, label_smoothing=e)
    assert got.tolist() == pytest.approx(violation(gap, ref, 0.3, e))


@pytest.mark.parametrize("e", [0.0, 0.2])
def test_the_unpaired_formula(e):
    pairs = random_pairs()
    got = aot_unpaired(pairs, beta=0.3, label_smoothing=e)
    want = violation(pairs.chosen_ratio.tolist(), pairs.rejected_ratio.tolist(), 0.3, e)
    assert got.tolist() == pytest.approx(want)


def test_one_pair_is_dpo():
    pairs = random_pairs(1)
    for loss in (aot, aot_unpaired):
        assert loss(pairs, beta=0.2).item() == pytest.approx(dpo(pairs, beta=0.2).item())


@pytest.mark.parametrize("loss", [aot, aot_unpaired])
def test_before_the_first_step(loss):
    pairs = at_ratios([0.0, 0.0], [0.0, 0.0])
    values = loss(pairs, beta=0.4)
    assert values.tolist() == pytest.approx([math.log(2)] * 2)
    assert gradients(values, pairs) == (pytest.approx([-0.2, -0.2]), pytest.approx([0.2, 0.2]))


def test_the_sort_and_not_the_pair_decides():
    """Gaps 3 and -1 against the reference's 2 and 0: 3 - 2 and -1 - 0, although the pairs' own references are swapped."""
    zeros = torch.zeros(2, dtype=torch.float64)
    pairs = PairLogps(
        torch.tensor([3.0, -1.0]).double(),
        zeros,
        torch.tensor([0.0, 2.0]).double(),
        zeros,
        zeros + 1,
        zeros + 1,
    )
    want = [-math.log(sigmoid(1.0)), -math.log(sigmoid(-1.0))]
    assert aot(pairs, beta=1.0).tolist() == pytest.approx(want)


def test_labels_that_say_nothing_are_refused():
    with pytest.raises(ConfigError, match="label_smoothing"):
        aot(random_pairs(), label_smoothing=0.5)
