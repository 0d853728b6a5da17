"""Token log-probabilities are the model's own: shared prompts, chunks and soft caps change nothing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from pareto.core.logps import (
    MOST_RESPONSES,
    SeparateRowsWarning,
    batches_by_tokens,
    make_scorer,
    response_logps,
    sums,
    together,
    token_logps,
)
from pareto.core.packing import pack
from pareto.data.pairs import Ragged, ResponseTable
from tests.core import small

EXAMPLES = np.arange(9).reshape(3, 3)
GPT2 = {
    "vocab_size": small.VOCAB,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 64,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS = {
    "llama": (small.llama, True),
    "tied embeddings": (lambda: small.llama(tie_word_embeddings=True), True),
    "eager attention": (lambda: small.llama(attention="eager"), True),
    "soft caps": (
        lambda: small.build("Gemma2", head_dim=16, sliding_window=4, final_logit_softcapping=1.0),
        False,
    ),
    "small window": (lambda: small.build("Mistral", sliding_window=4), False),
    "scaled logits": (lambda: small.build("Granite", logits_scaling=4.0), True),
    "multiplied logits": (lambda: small.build("Cohere", logit_scale=0.25), True),
    "learned positions": (lambda: small.build("GPT2", **GPT2), None),
    "linear biases": (
        lambda: small.build(
            "Bloom", vocab_size=small.VOCAB, hidden_size=32, n_layer=2, n_head=2, initializer_range=0.3
        ),
        False,
    ),
    "recurrent": (
        lambda: small.build("Mamba", hidden_size=32, num_hidden_layers=2, state_size=8, time_step_rank=4),
        False,
    ),
    "adapter": (lambda: small.with_lora(small.llama()), True),
    "adapter on the head": (
        lambda: small.with_lora(small.llama(), targets=("q_proj", "lm_head")),
        None,
    ),
}


@pytest.fixture(scope="module")
def table():
    return small.table()


@pytest.fixture(scope="module")
def model():
    return small.llama()


@torch.no_grad()
def scored(model, table, examples, *, share=None, chunk_tokens=4096):
    scorer = make_scorer(model)
    rows = pack(
        table,
        examples,
        pad_token_id=scorer.pad_token_id,
        share_prompts=scorer.share_prompts if share is None else share,
    )
    return token_logps(scorer, rows, chunk_tokens=chunk_tokens).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_gives_its_own_log_probabilities(name, table):
    make, shares = MODELS[name]
    model = make()
    want = small.plain_logps(model, table)
    assert want.std() > 0.1
    np.testing.assert_allclose(scored(model, table, EXAMPLES), want, atol=2e-5)
    np.testing.assert_allclose(response_logps(model, table), want, atol=2e-5)
    if shares:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SeparateRowsWarning)
            assert make_scorer(model).share_prompts
    elif shares is False:
        with pytest.warns(SeparateRowsWarning, match="gets a row of its own for every response"):
            assert not make_scorer(model).share_prompts


def test_known_heads_are_not_computed_where_nothing_is_scored():
    for name in ("llama", "soft caps", "scaled logits", "multiplied logits", "adapter"):
        model = MODELS[name][0]()
        scorer = make_scorer(model)
        rows = pack(small.table(), EXAMPLES, pad_token_id=0, share_prompts=scorer.share_prompts)
        assert scorer.hidden(rows).shape[-1] == 32  # hidden states, not logits


def test_a_window_longer_than_any_probe_is_respected():
    model = small.build("Mistral", sliding_window=32)
    table = small.table((9,), ((40, 30),))
    want = small.plain_logps(model, table)
    np.testing.assert_allclose(scored(model, table, np.array([[0, 1]])), want, atol=2e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_shared_prompts_equal_separate_rows(k, model, table):
    examples = EXAMPLES[:, :k]
    want = small.plain_logps(model, table)
    where = np.concatenate(
        [np.arange(table.responses.offsets[i], table.responses.offsets[i + 1]) for i in examples.ravel()]
    )
    for share in (True, False):
        np.testing.assert_allclose(scored(model, table, examples, share=share), want[where], atol=1e-5)


@pytest.mark.parametrize("chunk_tokens", [1, 5, 31, 32, 33])
def test_chunks_change_nothing(chunk_tokens, model, table):
    assert len(table.responses.flat) == 32
    whole = scored(model, table, EXAMPLES)
    np.testing.assert_allclose(
        scored(model, table, EXAMPLES, chunk_tokens=chunk_tokens), whole, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("batch_tokens", [1, 20, 10_000])
def test_batches_change_nothing(batch_tokens, model, table):
    got = response_logps(model, table, batch_tokens=batch_tokens)
    np.testing.assert_allclose(got, small.plain_logps(model, table), atol=1e-5)


def test_batches_hold_every_response_once_within_the_budget(table):
    cost = table.prompts.lengths[table.prompt_of] + table.responses.lengths
    for budget in (1, 12, 30, 1000):
        batches = list(batches_by_tokens(table, np.arange(9), budget))
        assert sorted(np.concatenate(batches).tolist()) == list(range(9))
        assert all(len(b) == 1 or len(b) * cost[b].max() <= budget for b in batches)


def test_responses_of_a_prompt_are_scored_together():
    prompt_of = np.array([2, 0, 2, 1, *[3] * (MOST_RESPONSES + 2), 2, 1])
    responses = Ragged.of([[1]] * len(prompt_of))
    groups = together(ResponseTable(Ragged.of([[1]] * 4), responses, prompt_of))
    long = list(range(4, 4 + MOST_RESPONSES))
    assert [g.tolist() for g in groups] == [
        [[1]],
        [[3, len(prompt_of) - 1], [long[-1] + 1, long[-1] + 2]],
        [[0, 2, len(prompt_of) - 2]],
        [long],
    ]
    assert together(ResponseTable(Ragged.of([]), Ragged.of([]), np.zeros(0, np.int64))) == []


@pytest.mark.parametrize("adapter", [False, True])
def test_half_precision_is_finite_and_close(adapter, table):
    model = small.with_lora(small.llama()) if adapter else small.llama()
    exact = response_logps(model, table)
    half = response_logps(model, table, dtype="bfloat16")
    assert half.dtype == np.float32
    assert np.isfinite(half).all()
    assert 0 < abs(half - exact).max() < 0.15


def test_half_precision_weights_still_share_prompts():
    scorer = make_scorer(small.llama().to(torch.bfloat16))
    assert scorer.share_prompts
    assert make_scorer(small.llama(attention="eager").to(torch.bfloat16)).share_prompts


def test_scoring_leaves_the_model_as_it_was(model, table):
    model.train()
    response_logps(model, table)
    make_scorer(model)
    assert model.training
    model.eval()
    assert all(p.grad is None for p in model.parameters())


def test_sums_add_up_over_each_response(table):
    values = np.arange(32, dtype=np.float32)
    by_hand = [values[a:b].sum() for a, b in zip(table.responses.offsets, table.responses.offsets[1:])]
    np.testing.assert_array_equal(sums(table, values), by_hand)
