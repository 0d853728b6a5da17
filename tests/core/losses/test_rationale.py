"""Rationales: the code's form, the paper's, and where they agree."""

from __future__ import annotations

import math

import pytest
import torch

from pareto.core.losses.dpo import dpo
from pareto.core.losses.rationale import rationale
from pareto.errors import ConfigError
from tests.core.losses.pairs import columns, random_pairs, sigmoid


def reasoned(*logps):
    column = torch.tensor(logps, dtype=torch.float64).requires_grad_()
    return random_pairs(len(logps), rationale_logps=column)


def test_the_formula():
    pairs = reasoned(-1.0, -30.0, -200.0)
    for form, term in (("code", lambda x: -math.log(sigmoid(0.2 * x))), ("nll", lambda x: -0.2 * x)):
        got = rationale(pairs, beta=0.3, gamma=0.2, form=form).tolist()
        for (c, r, *_), reason, value in zip(columns(pairs), pairs.rationale_logps.tolist(), got):
            assert value == pytest.approx(-math.log(sigmoid(0.3 * (c - r))) + term(reason), rel=1e-9)


def test_without_weight_it_is_dpo():
    pairs = reasoned(-1.0, -30.0)
    both = [rationale(pairs, gamma=0.0, form=f).detach() for f in ("code", "nll")]
    assert both[0].tolist() == pytest.approx((dpo(pairs) + math.log(2)).tolist())
    assert both[1].tolist() == pytest.approx(dpo(pairs).tolist())


def test_both_forms_push_unlikely_rationales_alike():
    """-gamma where the log-probability is far below 0; the code's form lets go near 0, -gamma / 2 at 0."""
    pairs = reasoned(-1000.0, 0.0)
    rationale(pairs, gamma=0.2).sum().backward()
    assert pairs.rationale_logps.grad.tolist() == pytest.approx([-0.2, -0.1])


def test_unknown_forms():
    with pytest.raises(ConfigError, match="form"):
        rationale(reasoned(-1.0), form="paper")
