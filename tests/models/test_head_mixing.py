"""Rows of one batch under heads of their own: what they say is computed here head by head."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, UsageError
from pareto.models.head_mixing import HeadMixture, LowRankMixtures, WholeHeads, read_heads
from tests.models import tiny

V, D = 300, 32
IDS = torch.tensor([[1, 10, 11], [1, 20, 21], [1, 30, 31]])
ROWS = torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heads_and_matrices(kind):
    """Heads of a kind for the tiny model, and the [2, V, d] matrices and [2, V] biases that they stand for."""
    if kind == "low_rank":
        down, up = drawn(2, 3, D, seed=1), drawn(2, V, 3, seed=2)
        own = tiny.llama(layers=1).get_output_embeddings().weight.detach()
        return LowRankMixtures(down, up), own + up @ down, torch.zeros(2, V)
    weights, biases = drawn(2, V, D, seed=3), drawn(2, V, seed=4)
    return WholeHeads(weights, biases, kept=3 if kind == "merged" else 2), weights, biases


@pytest.mark.parametrize("kind", ["merged", "all", "low_rank"])
@torch.no_grad()
def test_every_row_has_the_head_of_its_weights(kind):
    heads, weights, biases = heads_and_matrices(kind)
    model = tiny.llama(layers=1)
    states = model.model(input_ids=IDS).last_hidden_state
    mixture = HeadMixture(model, heads).eval()
    got = mixture(input_ids=IDS, coefficients=ROWS).logits
    for b, row in enumerate(ROWS.float()):
        head, bias = torch.tensordot(row, weights, 1), row @ biases
        np.testing.assert_allclose(got[b], states[b] @ head.T + bias, rtol=1e-5, atol=1e-4)
    corner = mixture(input_ids=IDS[1:2], coefficients=ROWS[1:2]).logits[0]
    np.testing.assert_allclose(corner, got[1], rtol=1e-6, atol=1e-5)


@torch.no_grad()
def test_a_token_that_a_head_without_share_forbids_stays_possible():
    heads, *_ = heads_and_matrices("all")
    heads.biases[1, 7] = -torch.inf
    mixture = HeadMixture(tiny.llama(layers=1), heads).eval()
    got = mixture(input_ids=IDS, coefficients=ROWS).logits[:, -1, 7]
    assert torch.isfinite(got).tolist() == [False, True, False]


@torch.no_grad()
def test_merged_heads_are_kept_for_the_vectors_used_last():
    heads, *_ = heads_and_matrices("merged")
    states = drawn(1, 1, D, seed=5)
    for w in (0.1, 0.2, 0.3, 0.1, 0.4):
        heads.logits(states, torch.tensor([[w, 1 - w]], dtype=torch.float64), torch.nn.Identity())
    kept = [np.frombuffer(key)[0] for key in heads._merged]
    assert kept == [0.3, 0.1, 0.4]


def test_what_does_not_fit_is_refused(tmp_path):
    heads, *_ = heads_and_matrices("all")
    mixture = HeadMixture(tiny.llama(layers=1), heads)
    with pytest.raises(UsageError, match="which of them speaks"):
        mixture.model(input_ids=IDS)
    with pytest.raises(UsageError, match="3 rows of states came with 2 rows"):
        mixture(input_ids=IDS, coefficients=ROWS[:2])
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_heads(tmp_path, (V, D))
