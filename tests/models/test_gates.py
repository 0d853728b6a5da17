"""Gates by hand."""

from __future__ import annotations

import pytest
import torch

from pareto.models.conditioned import ConditionedHeadConfig
from pareto.models.gates import Gate

W = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])


def test_parts_by_hand():
    gate = Gate(("constant", "linear", "products"), 3, 2, seed=0)
    # 1 1 | w1 w1 w2 w2 w3 w3 | 4 w1 w2, 4 w1 w3, 4 w2 w3, each twice
    first = [1, 1, 0.2, 0.2, 0.3, 0.3, 0.5, 0.5, 0.24, 0.24, 0.4, 0.4, 0.6, 0.6]
    second = [1, 1, 1, 1] + [0] * 10
    assert torch.allclose(gate(W), torch.tensor([first, second], dtype=torch.float32))
    assert gate.columns == 14
    assert list(gate.parameters()) == []


def test_the_network_is_seeded_and_sees_the_weights():
    one, same, other = (Gate(("linear", "mlp"), 3, 2, seed=s) for s in (0, 0, 1))
    assert torch.equal(one(W), same(W))
    assert not torch.equal(one(W), other(W))
    assert one.columns == 8
    assert (one(W)[0, 6:] - one(W)[1, 6:]).abs().max() > 1e-3
    torch.manual_seed(3)
    first = torch.rand(1)
    torch.manual_seed(3)
    Gate(("mlp",), 3, 2, seed=5)
    assert torch.equal(torch.rand(1), first)  # no other stream moves


def test_rows_of_any_shape():
    gate = Gate(("products",), 2, 3, seed=0)
    w = torch.rand(4, 5, 2)
    assert gate(w).shape == (4, 5, 3)
    assert torch.allclose(gate(w)[2, 1], gate(w[2, 1]))


def test_a_gate_must_see_the_weights():
    with pytest.raises(ValueError, match="does not see the weights"):
        ConditionedHeadConfig(gate=("constant",))
    with pytest.raises(ValueError, match="each part once"):
        ConditionedHeadConfig(gate=("linear", "linear"))
