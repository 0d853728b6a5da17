"""First gradients of opposite, equal and unrelated objectives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.models.adapters import LoRA, attach
from pareto.models.gradient_conflict import _gradient, gradient_conflict
from pareto.objectives import Objectives
from tests.models import tiny


def pairs(labels, names, n=24):
    rng = np.random.default_rng(0)
    responses = [rng.integers(3, 300, size=rng.integers(2, 7)).tolist() for _ in range(2 * n)]
    table = ResponseTable(
        Ragged.of([[1, 5 + i] for i in range(n)]), Ragged.of(responses), np.repeat(np.arange(n), 2)
    )
    return PreferencePairs(
        Objectives(names), table, np.arange(0, 2 * n, 2), np.arange(1, 2 * n, 2), labels.astype(np.float32)
    )


def test_opposite_and_equal_objectives():
    first = np.sign(np.random.default_rng(1).normal(size=24))
    found = gradient_conflict(
        tiny.llama(), pairs(np.column_stack([first, -first, first]), ["a", "not a", "a again"])
    )
    # with all pairs used, equal labels give the very same gradient and opposite labels its negative
    assert found.cosine[0, 2] == pytest.approx(1.0, abs=1e-5)
    assert found.cosine[0, 1] == pytest.approx(-1.0, abs=1e-5)
    assert -1 <= found.cosine[0, 0] < 0.99
    assert found.pairs == {"a": 24, "not a": 24, "a again": 24}
    assert found.head is not None
    assert found.head[0, 2] == pytest.approx(1.0, abs=1e-5)
    assert found.head[0, 1] == pytest.approx(-1.0, abs=1e-5)


def test_the_heads_gradient_in_closed_form():
    """Two objectives on two pairs: sum over tokens of (onehot - p) h', winners less losers, compared by hand."""
    labels = np.array([[1, 1], [1, -1], [1, 1], [-1, 1]])
    data = pairs(labels, ["a", "b"], n=4)
    model = tiny.llama()
    want = []
    for j in range(2):
        total = torch.zeros_like(model.get_output_embeddings().weight)
        for prompt in range(4):
            for side in range(2):
                p, r = data.table.prompts[prompt].tolist(), data.table.responses[2 * prompt + side].tolist()
                with torch.no_grad():
                    out = model(input_ids=torch.tensor([p + r]), output_hidden_states=True)
                hidden, probs = out.hidden_states[-1][0], out.logits[0].softmax(-1)
                sign = labels[prompt, j] * (1 if side == 0 else -1)
                for i, token in enumerate(r):
                    slope = -probs[len(p) - 1 + i]
                    slope[token] += 1
                    total += sign * slope[:, None] * hidden[len(p) - 1 + i]
        want.append(total.flatten().double())
    expected = float(torch.nn.functional.cosine_similarity(want[0], want[1], dim=0))
    found = gradient_conflict(tiny.llama(), data)
    assert found.head is not None
    assert found.head[0, 1] == pytest.approx(expected, abs=1e-4)


def test_the_gradient_is_that_of_the_difference_of_log_probabilities():
    data = pairs(np.ones((3, 1)), ["a"], n=3)
    model = attach(tiny.llama(), LoRA(r=2), seed=0).eval()
    got = _gradient(model, data, np.array([[0, 1], [2, 3], [4, 5]]), batch_pairs=2)
    total = torch.zeros(())
    for prompt in range(3):
        for sign, response in ((-1, 2 * prompt), (1, 2 * prompt + 1)):
            p, r = data.table.prompts[prompt].tolist(), data.table.responses[response].tolist()
            logps = model(input_ids=torch.tensor([p + r])).logits[0].log_softmax(-1)
            total = total + sign * sum(logps[len(p) - 1 + i, t] for i, t in enumerate(r))
    total.backward()
    want = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
    np.testing.assert_allclose(got, want.numpy(), atol=1e-5)
