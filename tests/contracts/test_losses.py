"""What every registered loss keeps, whatever it computes."""

from __future__ import annotations

import pytest
import torch

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps
from tests.core.losses.pairs import random_pairs, rows

B, T = 6, 5
NAMES = LOSSES.names()


def complete_pairs(dtype, *, gradients=False, scale=1.0):
    """Pairs with every column a loss may ask for."""
    draw = torch.Generator().manual_seed(3)

    def tokens():
        return -scale * torch.rand(B, T, generator=draw, dtype=torch.float64)

    per_token = {
        name: tokens()
        for name in (
            "chosen_token_logps",
            "rejected_token_logps",
            "ref_chosen_token_logps",
            "ref_rejected_token_logps",
        )
    }
    columns = {name.replace("_token", ""): value.sum(1) for name, value in per_token.items()}
    columns |= per_token | {
        "margin": torch.linspace(-1, 1, B, dtype=torch.float64),
        "weight": torch.linspace(0.5, 1.5, B, dtype=torch.float64),
        "target": torch.linspace(0.55, 0.95, B, dtype=torch.float64),
        "prev_chosen_logps": columns["chosen_logps"] - 0.2,
        "prev_rejected_logps": columns["rejected_logps"] + 0.1,
        "chosen_lengths": torch.full((B,), float(T), dtype=torch.float64),
        "rejected_lengths": torch.full((B,), float(T), dtype=torch.float64),
    }
    columns = {name: value.to(dtype).requires_grad_(gradients) for name, value in columns.items()}
    columns["span_mask"] = torch.ones(B, T, dtype=torch.bool)
    columns["example_id"] = torch.arange(B)
    return random_pairs(B, **columns)


def loss_of(name, pairs: PairLogps):
    entry = LOSSES.entry(name)
    return (entry.example() if entry.example else entry.value)(pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_one_loss_a_pair_finite_and_differentiable(name, dtype):
    pairs = complete_pairs(dtype, gradients=True)
    loss = loss_of(name, pairs)
    assert loss.shape == (B,)
    assert loss.dtype in (dtype, torch.float32)
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    gradients = [
        g for c in ("chosen_logps", "chosen_token_logps") if (g := getattr(pairs, c).grad) is not None
    ]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_is_a_constant(name):
    pairs = complete_pairs(torch.float32, gradients=True)
    loss_of(name, pairs).sum().backward()
    for column in (
        "ref_chosen_logps",
        "ref_rejected_logps",
        "ref_chosen_token_logps",
        "ref_rejected_token_logps",
    ):
        assert getattr(pairs, column).grad is None, column


@pytest.mark.parametrize("name", NAMES)
def test_pairs_do_not_see_each_other(name):
    pairs = complete_pairs(torch.float32)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    whole = loss_of(name, pairs)
    torch.testing.assert_close(loss_of(name, rows(pairs, order)), whole[order])
    torch.testing.assert_close(loss_of(name, rows(pairs, order[:1])), whole[order[:1]])


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_close_to_single(name):
    exact, half = (loss_of(name, complete_pairs(d)).float() for d in (torch.float32, torch.bfloat16))
    torch.testing.assert_close(half, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_large_log_probabilities_stay_finite(name):
    pairs = complete_pairs(torch.float32, gradients=True, scale=400.0)
    loss = loss_of(name, pairs)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    for column in ("chosen_logps", "rejected_logps", "chosen_token_logps", "rejected_token_logps"):
        gradient = getattr(pairs, column).grad
        assert gradient is None or torch.isfinite(gradient).all()
