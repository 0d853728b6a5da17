"""The loss inside the forward pass has the gradients of ordinary automatic differentiation."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from pareto.core.logps import Scorer, make_scorer
from pareto.core.objective import Objective, ScoredExamples
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


def coupled(scored):
    """Ranks across the batch decide how much a gap counts; with single tokens and lengths, nothing separates."""
    ratio = scored.logps - REF.to(scored.logps.dtype)[scored.index]
    gap = ratio[:, 0] - ratio[:, 1]
    ahead = (gap.sort().values - gap.mean().detach()) * gap
    values = ahead * 0.01 - F.logsigmoid(BETA * gap) * torch.softmax(gap, 0)
    squares = torch.zeros_like(scored.logps).flatten()
    squares = squares.index_add(0, scored.token_response, scored.token_logps**2).view_as(scored.logps)
    return values + 0.1 * (squares / scored.lengths).sum(1) * gap.std(), {"chosen": ratio[:, 0]}


def full_logits(model, table, examples=EXAMPLES):
    """Response tokens' logits by ordinary forward passes, one sequence at a time: [N, V], [N], [N], [B, K]."""
    logits, target, response = [], [], []
    for j, r in enumerate(examples.ravel()):
        prompt, reply = table.prompts[table.prompt_of[r]], table.responses[r].astype(np.int64)
        ids = torch.from_numpy(np.concatenate([prompt, reply]).astype(np.int64))[None]
        logits.append(model(input_ids=ids).logits[0, len(prompt) - 1 : -1])
        target.append(torch.from_numpy(reply))
        response += [j] * len(reply)
    lengths = torch.from_numpy(table.responses.lengths[examples])
    return torch.cat(logits), torch.cat(target), torch.tensor(response), lengths


def by_autograd(model, table, objective):
    """(loss, gradient) of an objective, everything alive at once."""
    logits, target, response, lengths = full_logits(model, table)
    logps = logits.log_softmax(-1)[torch.arange(len(target)), target]
    extras = {n: e(logits, None, slice(None), None) for n, e in objective.extras.items()}
    summed = torch.zeros(lengths.numel(), dtype=logps.dtype).index_add(0, response, logps).view(lengths.shape)
    scored = ScoredExamples(
        logps, response, summed, lengths.to(logps.dtype), torch.arange(len(EXAMPLES)), extras
    )
    model.zero_grad(set_to_none=True)
    value = objective.loss(scored)[0].sum() / len(EXAMPLES)
    value.backward()
    return float(value.detach()), gradient(model)


def by_core(model, table, objective, **settings):
    model.zero_grad(set_to_none=True)
    scorer = make_scorer(model)
    rows = pack(table, EXAMPLES, pad_token_id=0, share_prompts=scorer.share_prompts)
    value, _ = backward(
        scorer, rows, torch.arange(len(EXAMPLES)), objective, divisor=len(EXAMPLES), **settings
    )
    return float(value), gradient(model)


class Entropy:
    """An extra that says how often it was worked out."""

    def __init__(self):
        self.prepared, self.tokens = 0, 0

    def prepare(self, rows):
        self.prepared += 1
        return self

    def __call__(self, logits, rows, tokens, prepared):
        self.tokens += len(logits)
        assert rows is None or prepared is self
        assert rows is None or len(rows.target[tokens]) == len(logits)
        logps = logits.log_softmax(-1)
        return -(logps.exp() * logps).sum(-1)


def with_entropy(scored):
    """A loss with a gradient through an extra."""
    values, metrics = coupled(scored)
    squares = torch.zeros_like(scored.logps).flatten()
    squares = squares.index_add(0, scored.token_response, scored.extras["entropy"] ** 2)
    return values + 0.3 * squares.view_as(scored.logps).sum(1), metrics


def separable_with_entropy(scored):
    squares = torch.zeros_like(scored.logps).flatten()
    squares = squares.index_add(0, scored.token_response, scored.extras["entropy"] * scored.token_logps)
    return loss(scored)[0] + 0.3 * squares.view_as(scored.logps).sum(1), {}


@pytest.mark.parametrize("chunk_tokens", [4096, 6, 1])
@pytest.mark.parametrize("name", MODELS)
def test_losses_that_couple_a_batch_have_ordinary_gradients(name, chunk_tokens, table):
    model = MODELS[name]().double()
    objective = Objective(coupled, coupled=True)
    want_loss, want = by_autograd(model, table, objective)
    got_loss, got = by_core(model, table, objective, chunk_tokens=chunk_tokens)
    assert got_loss == pytest.approx(want_loss, rel=1e-5)  # most heads give float32 logits
    assert (got - want).norm() / want.norm() <= 1e-5


@pytest.mark.parametrize("chunk_tokens", [4096, 6, 1])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("head_bias", [False, True])
def test_a_linear_head_in_closed_form_has_ordinary_gradients(chunk_tokens, lora, head_bias, table):
    """A head with a scale, with and without bias, trained and frozen, under losses that couple the batch and do not."""
    model = small.build("Granite", logits_scaling=3.0).double()
    if head_bias:
        model.lm_head = torch.nn.Linear(32, small.VOCAB).double()
    model = small.with_lora(model).double() if lora else model
    linear = make_scorer(model).linear()
    assert linear is not None
    assert linear.frozen is lora
    for objective in (Objective(loss), Objective(coupled, coupled=True)):
        want_loss, want = by_autograd(model, table, objective)
        got_loss, got = by_core(model, table, objective, chunk_tokens=chunk_tokens)
        assert got_loss == pytest.approx(want_loss, rel=1e-6)
        assert (got - want).norm() / want.norm() <= 1e-6  # norms of hidden states are float32 in any model


@pytest.mark.parametrize("chunk_tokens", [4096, 6, 1])
@pytest.mark.parametrize("function", [with_entropy, separable_with_entropy])
def test_extras_of_the_logits_carry_gradients(function, chunk_tokens, table):
    model = small.llama()
    objective = Objective(function, coupled=function is with_entropy, extras={"entropy": Entropy()})
    want_loss, want = by_autograd(copy.deepcopy(model).double(), table, objective)
    got_loss, got = by_core(model, table, objective, chunk_tokens=chunk_tokens)
    assert got_loss == pytest.approx(want_loss, rel=1e-5)
    assert (got - want).norm() / want.norm() <= 1e-5


def test_extras_are_prepared_once_and_worked_out_once_where_the_loss_has_no_gradient_through_them(table):
    n = int(table.responses.lengths[EXAMPLES].sum())

    def weighted(scored):
        certain = torch.exp(-scored.extras["entropy"]).detach()
        summed = torch.zeros_like(scored.logps).flatten()
        summed = summed.index_add(0, scored.token_response, certain * scored.token_logps)
        return -summed.view_as(scored.logps)[:, 0], {}

    for is_coupled in (False, True):
        entropy = Entropy()
        objective = Objective(weighted, coupled=is_coupled, extras={"entropy": entropy})
        _, got = by_core(small.llama(), table, objective, chunk_tokens=20)
        assert (entropy.prepared, entropy.tokens) == (1, n)
        _, want = by_autograd(small.llama(), table, objective)
        assert (got - want).norm() / want.norm() <= 1e-5


@pytest.mark.parametrize("coupling", [False, True])
def test_a_frozen_head_is_multiplied_twice_and_never_again(coupling, table):
    """Forward and hidden-state gradient: 4 N d V operations, also where the loss couples the batch."""
    model = small.with_lora(small.llama())
    scorer = make_scorer(model)
    rows = pack(table, EXAMPLES, pad_token_id=0)
    objective = Objective(coupled, coupled=True) if coupling else OBJECTIVE
    states = scorer.hidden(rows).detach()
    scorer = dataclasses.replace(scorer, hidden=lambda rows: states.clone().requires_grad_())
    for chunk_tokens in (4096, 6):
        with FlopCounterMode(display=False) as counter:
            backward(scorer, rows, torch.arange(5), objective, divisor=5, chunk_tokens=chunk_tokens)
        assert counter.get_total_flops() == 4 * len(rows.target) * 32 * small.VOCAB


def test_packed_rows_have_the_gradients_of_rows_apart(table):
    model = small.llama().double()
    scorer = make_scorer(model)
    examples = EXAMPLES[[3, 2, 0]]
    found = []
    for share_rows in (True, False):
        rows = pack(table, examples, pad_token_id=0, share_rows=share_rows)
        assert len(rows.input_ids) == (1 if share_rows else 3)
        model.zero_grad(set_to_none=True)
        backward(scorer, rows, torch.tensor([3, 2, 0]), OBJECTIVE, divisor=3)
        found.append(gradient(model))
    assert (found[0] - found[1]).norm() / found[1].norm() <= 1e-12


def test_the_parameters_of_a_loss_are_trained_in_every_path(table):
    slope = torch.nn.Parameter(torch.tensor(0.5))

    def learned(scored):
        return -F.logsigmoid(slope * (scored.logps[:, 0] - scored.logps[:, 1])), {}

    found = []
    for model in (small.llama(), small.with_lora(small.llama(), warm=False)):
        for is_coupled in (False, True):
            for chunk_tokens in (4096, 6):
                slope.grad = None
                by_core(model, table, Objective(learned, coupled=is_coupled), chunk_tokens=chunk_tokens)
                assert slope.grad is not None
                found.append(float(slope.grad))
    assert found == pytest.approx([found[0]] * len(found), rel=1e-5)
