"""Supervised fine-tuning: the likelihood of the chosen response and nothing else."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.sft import sft
from tests.core.losses.pairs import at_ratios, random_pairs


def test_the_formula():
    """Three tokens of probability 1/2 cost ln 2 each."""
    pairs = random_pairs(
        1, chosen_logps=torch.tensor([3 * math.log(0.5)]), chosen_lengths=torch.tensor([3.0])
    )
    assert sft(pairs).item() == pytest.approx(math.log(2.0))
    assert sft(pairs, average=False).item() == pytest.approx(3 * math.log(2.0))


def test_each_response_is_averaged_over_its_own_tokens():
    pairs = random_pairs()
    for i, got in enumerate(sft(pairs).tolist()):
        assert got == pytest.approx(-float(pairs.chosen_logps[i]) / (i + 1))


def test_only_the_chosen_response_counts():
    pairs = at_ratios([0.0, 1000.0, -1000.0], [5.0, 5.0, 5.0])
    sft(pairs).sum().backward()
    assert pairs.chosen_logps.grad.tolist() == [-1.0, -1.0, -1.0]
    assert pairs.rejected_logps.grad is None


def test_its_optimum_is_how_often_each_response_was_chosen():
    share = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=100, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = (share * sft(random_pairs(3, chosen_logps=logits.log_softmax(0)), average=False)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(logits.detach().softmax(0), share, atol=1e-6, rtol=0)
