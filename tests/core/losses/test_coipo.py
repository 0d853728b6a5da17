"""CoIPO: its contrast by hand, where the released form stops teaching, and the scale."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.base import PromptContrast
from pareto.core.losses.coipo import coipo
from pareto.errors import ConfigError

KL = [[[0.2, 0.9], [0.7, 0.1]], [[0.8, 0.3], [0.1, 0.9]]]


def couples(kl=None):
    kl = torch.tensor(KL if kl is None else kl, dtype=torch.float64).requires_grad_()
    n = len(kl)
    clean = torch.tensor([[-4.0, -6.0]] * n, dtype=torch.float64).requires_grad_()
    noisy = torch.tensor([[-8.0, -9.0]] * n, dtype=torch.float64).requires_grad_()
    return PromptContrast(clean, noisy, torch.tensor([[2.0, 3.0]] * n, dtype=torch.float64), kl)


@pytest.mark.parametrize("form", ["softplus", "saturating"])
def test_the_formula(form):
    """NLL: ((4 + 8) / 2 + (6 + 9) / 3) / 2 = 5.5; k = 0.2 - 0.7 + 0.1 - 0.9 = -1.3 and 0.8 - 0.1 + 0.9 - 0.3 = 1.3."""
    got = coipo(couples(), contrast_weight=2.0, form=form).tolist()
    for k, value in zip((-1.3, 1.3), got):
        contrast = math.log1p(math.exp(k)) if form == "softplus" else min(1.0, math.exp(k))
        assert value == pytest.approx(5.5 + min(2.0, 5.5 / contrast) * contrast)


def test_a_large_weight_is_cut_to_the_size_of_the_likelihood():
    assert coipo(couples()).tolist() == pytest.approx([11.0, 11.0])


def test_the_released_form_has_no_gradient_where_the_contrast_fails():
    saturating, soft = couples(), couples()
    coipo(saturating, contrast_weight=1.0, form="saturating").sum().backward()
    coipo(soft, contrast_weight=1.0).sum().backward()
    assert saturating.kl.grad[1].tolist() == [[0.0, 0.0], [0.0, 0.0]]  # k = 1.3 > 0
    assert saturating.kl.grad[0, 0, 0].item() == pytest.approx(math.exp(-1.3))
    slope = 1 / (1 + math.exp(-1.3))
    assert soft.kl.grad[1].flatten().tolist() == pytest.approx([slope, -slope, -slope, slope])


def test_unknown_forms():
    with pytest.raises(ConfigError, match="softplus"):
        coipo(couples(), form="hard")
