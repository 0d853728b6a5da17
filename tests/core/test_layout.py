"""Rows laid out again: copies against packed copies, views against counting by hand and a loop of single views."""

from __future__ import annotations

import numpy as np
import torch

from pareto.core.layout import tiled, viewed
from pareto.core.logps import make_scorer, token_logps
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.packing import pack
from pareto.core.step import backward
from pareto.data.pairs import Ragged, ResponseTable
from pareto.models.conditioned import ConditionedHeadConfig, attach_conditioned, release
from tests.models.tiny import llama

TABLE = ResponseTable(
    Ragged.of([[5, 6, 7], [8, 9]]),
    Ragged.of([[10, 11], [12, 13, 14], [15], [16, 17, 18, 19]]),
    np.array([0, 0, 1, 1]),
)
EXAMPLES = np.array([[0, 1], [3, 2]])


def test_tiled_rows_score_as_the_rows_do():
    scorer = make_scorer(llama())
    rows = pack(TABLE, EXAMPLES, pad_token_id=0)
    blocks = tiled(rows, 3)
    assert torch.allclose(token_logps(scorer, blocks), token_logps(scorer, rows).repeat(3), atol=1e-5)
    assert blocks.ends.tolist() == [5, 10, 15, 20, 25, 30]  # 2 + 3 and 4 + 1 tokens, three times
    assert blocks.lengths.tolist() == [[2, 3], [4, 1]] * 3
    assert blocks.response.tolist() == np.repeat(np.arange(12), [2, 3, 4, 1] * 3).tolist()
    assert blocks.n_tokens == 3 * rows.n_tokens


def test_views_by_hand():
    rows = pack(TABLE, EXAMPLES, pad_token_id=0)
    beside = torch.arange(8.0).view(2, 2, 2)  # example 0: (0, 1) and (2, 3); example 1: (4, 5) and (6, 7)
    views = viewed(rows, beside)
    assert views.lengths.tolist() == [[2, 2, 3, 3], [4, 4, 1, 1]]
    assert views.target.tolist() == [10, 11, 10, 11, 12, 13, 14, 12, 13, 14] + [16, 17, 18, 19] * 2 + [15, 15]
    assert views.response.tolist() == np.repeat(np.arange(8), [2, 2, 3, 3, 4, 4, 1, 1]).tolist()
    first = [0.0] * 2 + [2.0] * 2 + [0.0] * 3 + [2.0] * 3 + [4.0] * 4 + [6.0] * 4 + [4.0, 6.0]
    assert views.beside is not None
    assert views.beside[:, 0].tolist() == first
    assert views.ends.tolist() == [10, 20]
    assert views.n_tokens == rows.n_tokens  # the body computes nothing twice


def gradients(views: torch.Tensor, chunk: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    model = llama().requires_grad_(True)
    head = attach_conditioned(model, ConditionedHeadConfig(r=3), 2, seed=0)
    torch.manual_seed(1)
    torch.nn.init.normal_(head.b, std=0.3)
    scorer = make_scorer(model)
    rows = pack(TABLE, EXAMPLES, pad_token_id=0)
    seen: list[torch.Tensor] = []

    def loss(scored: ScoredExamples):
        seen.append(scored.logps.detach())
        return scored.logps.square().sum(1), {}

    def layout(rows, index):
        return viewed(rows, views), index

    objective = Objective(loss, layout=layout)
    rows, index = objective.layout(rows, torch.arange(2))
    backward(scorer, rows, index, objective, divisor=1.0, chunk_tokens=chunk)
    found = [p.grad for p in model.parameters() if p.grad is not None]
    release(model, head)
    return torch.cat(seen[-1:]), found


def test_gradients_of_views_add_up_to_those_of_each():
    """Two views in one pass against two passes of one view, and against few logits at a time."""
    views = torch.tensor([[[0.3, 0.7], [1.0, 0.0]], [[0.9, 0.1], [0.0, 1.0]]])
    logps, both = gradients(views, 4096)
    parts = [gradients(views[:, i : i + 1], 4096) for i in range(2)]
    assert torch.allclose(logps.view(2, 2, 2)[:, :, 0], parts[0][0], atol=1e-5)
    assert torch.allclose(logps.view(2, 2, 2)[:, :, 1], parts[1][0], atol=1e-5)
    for whole, one, other in zip(both, parts[0][1], parts[1][1]):
        assert torch.allclose(whole, one + other, atol=1e-3, rtol=1e-4)
    for whole, cut in zip(both, gradients(views, 7)[1]):
        assert torch.allclose(whole, cut, atol=1e-3, rtol=1e-4)
