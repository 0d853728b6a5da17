"""The loss inside the forward pass has the gradients of ordinary automatic differentiation."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pareto.core.logps import Scorer, make_scorer
from pareto.core.objective import Objective
from pareto.core.packing import pack
from pareto.core.step import backward, evaluate
from tests.core import small

EXAMPLES = np.array([[0, 1], [2, 0], [3, 4], [6, 7], [8, 6]])
REF = torch.tensor([[-5.0, -9.0], [-3.0, -4.0], [-20.0, -2.0], [-8.0, -30.0], [-6.0, -9.0]])
BETA = 0.3


@pytest.fixture(scope="module")
def table():
    return small.table()


def loss(scored):
    """DPO and a term of lengths and single tokens, so that everything a loss sees matters."""
    ratio = scored.logps - REF.to(scored.logps.dtype)[scored.index]
    squares = torch.zeros_like(scored.logps).flatten()
    squares = squares.index_add(0, scored.token_response, scored.token_logps**2).view_as(scored.logps)
    values = -F.logsigmoid(BETA * (ratio[:, 0] - ratio[:, 1])) + 0.1 * (squares / scored.lengths).sum(1)
    return values, {"chosen": ratio[:, 0]}


OBJECTIVE = Objective(loss)


def ordinary(model, table, examples=EXAMPLES):
    """[B] the same losses from full logits of single sequences, in the model's own precision."""
    out = []
    for i, pair in enumerate(examples):
        ratios, squares = [], 0.0
        for j, r in enumerate(pair):
            prompt, response = table.prompts[table.prompt_of[r]], table.responses[r].astype(np.int64)
            ids = torch.from_numpy(np.concatenate([prompt, response]).astype(np.int64))[None]
            logps = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            tokens = logps[torch.arange(len(response)), torch.from_numpy(response)]
            ratios.append(tokens.sum() - REF[i, j])
            squares = squares + (tokens**2).mean()
        out.append(torch.log1p(torch.exp(-BETA * (ratios[0] - ratios[1]))) + 0.1 * squares)
    return torch.stack(out)


def gradient(model):
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.requires_grad])


def gradient_by_backward(model, table, *, micro=1, chunk_tokens=4096, share=None, scorer=None):
    scorer = scorer or make_scorer(model)
    model.zero_grad(set_to_none=True)
    total = 0.0
    for part in np.array_split(np.arange(len(EXAMPLES)), micro):
        rows = pack(
            table,
            EXAMPLES[part],
            pad_token_id=0,
            share_prompts=scorer.share_prompts if share is None else share,
        )
        loss, figures = backward(
            scorer,
            rows,
            torch.from_numpy(part),
            OBJECTIVE,
            divisor=len(EXAMPLES),
            chunk_tokens=chunk_tokens,
        )
        assert not loss.requires_grad
        assert set(figures) == {"chosen"}
        total += float(loss)
    return total, gradient(model)


MODELS = {
    "full": small.llama,
    "full, tied": lambda: small.llama(tie_word_embeddings=True),
    "adapter": lambda: small.with_lora(small.llama()),
    "soft caps": lambda: small.build("Gemma2", head_dim=16, sliding_window=4, final_logit_softcapping=3.0),
    "adapter on the head": lambda: small.with_lora(small.llama(), targets=("v_proj", "lm_head")),
}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_ordinary_ones(name, table):
    model = MODELS[name]()
    loss = ordinary(model, table).mean()
    loss.backward()
    want = gradient(model)
    for chunk_tokens in (4096, 6, 1):
        got_loss, got = gradient_by_backward(model, table, chunk_tokens=chunk_tokens)
        assert got_loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert (got - want).norm() / want.norm() <= 1e-5


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("adapter", [True, False])
def test_gradients_in_double_precision(share, adapter, table):
    model = small.build("GPT2", vocab_size=small.VOCAB, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    model = (small.with_lora(model) if adapter else model).double()
    base = model.get_base_model() if adapter else model
    scorer = Scorer(
        lambda rows: base.base_model(
            input_ids=rows.input_ids,
            position_ids=rows.position_ids,
            attention_mask=rows.mask,
            use_cache=False,
        ).last_hidden_state.flatten(0, 1),
        base.get_output_embeddings(),
        share,
        0,
    )
    ordinary(model, table).mean().backward()
    want = gradient(model)
    got = gradient_by_backward(model, table, chunk_tokens=6, scorer=scorer)[1]
    assert (got - want).norm() / want.norm() <= 1e-11


@pytest.mark.parametrize("adapter", [True, False])
def test_micro_batches_add_up_to_the_batch(adapter, table):
    model = small.llama()
    model = small.with_lora(model) if adapter else model
    one_loss, one = gradient_by_backward(model, table)
    for micro in (2, 5):
        loss, got = gradient_by_backward(model, table, micro=micro)
        assert loss == pytest.approx(one_loss, rel=1e-5)
        assert (got - one).norm() / one.norm() <= 1e-5


def test_gradients_are_added_to_what_is_there(table):
    model = small.llama()
    once = gradient_by_backward(model, table)[1]
    scorer = make_scorer(model)
    rows = pack(table, EXAMPLES, pad_token_id=0)
    backward(scorer, rows, torch.arange(5), OBJECTIVE, divisor=5)
    assert (gradient(model) - 2 * once).norm() / once.norm() <= 1e-5


def test_half_precision_gradients_point_the_same_way(table):
    model = small.llama()
    exact = gradient_by_backward(model, table)[1]
    with torch.autocast("cpu", torch.bfloat16):
        half = gradient_by_backward(model, table, chunk_tokens=6)[1]
    assert torch.isfinite(half).all()
    assert F.cosine_similarity(exact, half, dim=0) > 0.999


@pytest.mark.parametrize("chunk_tokens", [1, 6, 4096])
def test_losses_without_gradients(chunk_tokens, table):
    model = small.llama()
    rows = pack(table, EXAMPLES, pad_token_id=0)
    got = evaluate(make_scorer(model), rows, torch.arange(5), OBJECTIVE, chunk_tokens=chunk_tokens)
    want = ordinary(copy.deepcopy(model).double(), table).detach()
    assert not got.requires_grad
    torch.testing.assert_close(got.double(), want, atol=2e-5, rtol=1e-5)


def test_metrics_are_sums_over_the_batch(table):
    model = small.llama()
    rows = pack(table, EXAMPLES, pad_token_id=0)
    figures = backward(make_scorer(model), rows, torch.arange(5), OBJECTIVE, divisor=5, chunk_tokens=6)[1]
    logps = small.plain_logps(model, table)
    ends = table.responses.offsets
    chosen = sum(logps[ends[r] : ends[r + 1]].sum() for r in EXAMPLES[:, 0]) - float(REF[:, 0].sum())
    assert float(figures["chosen"]) == pytest.approx(chosen, abs=1e-3)
