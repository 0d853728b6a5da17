"""Every registered loss through the one training loop; losses that look at whole distributions against slow arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pareto.core.logps import make_scorer, response_logps
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, UnpairedLogps, batch_kind, needs_of
from pareto.core.packing import pack
from pareto.core.preference_loss import LossConfig, LossTerm, preference_objective
from pareto.core.step import backward, evaluate
from pareto.core.token_extras import live_reference
from pareto.data.example_sets import ExampleSet, Layout, share_prompts, unpaired_examples
from tests.core.losses.pairs import sigmoid
from tests.core.small import VOCAB, llama

PARTS = {
    "pair": (0, 1),
    "rationale": (2,),
    "calibration": (3,),
    "other_prompt": (4, 5),
    "revisions": (6, 7, 8, 9),
    "degraded": (10, 11),
}
CONTRAST = {"clean": (0, 2), "noisy": (1, 3)}
N = 4


def sequences(draw, prompt, *lengths):
    return [(prompt, draw.integers(3, VOCAB, n).tolist()) for n in lengths]


def everything(seed=0):
    """Pairs with every part a loss may ask for; other prompts share one to three tokens with the first."""
    draw = np.random.default_rng(seed)
    items = []
    for _ in range(N):
        prompt = [1, *draw.integers(3, VOCAB, 3).tolist()]
        pair = sequences(draw, prompt, 5, 3)
        texts = [y for _, y in pair]
        others = [[*prompt[: 1 + i % 3], *draw.integers(3, VOCAB, 2 + i).tolist()] for i in range(4)]
        items.append(
            [
                *pair,
                *sequences(draw, others[0], 4),
                *sequences(draw, prompt, 6),
                *((others[1], y) for y in texts),
                *((other, y) for other in others[2:] for y in texts),
                *sequences(draw, prompt, 4, 2),
            ]
        )
    table, examples, context = share_prompts(items)
    return ExampleSet(table, examples, Layout(PARTS, context)), items


def contrasts(seed=0):
    """Couples of answers, each after a clean and a noisy prompt."""
    draw = np.random.default_rng(seed)
    items = []
    for _ in range(N):
        item = []
        for n in (3, 5):
            answer = draw.integers(3, VOCAB, n).tolist()
            item += [([1, *draw.integers(3, VOCAB, k).tolist()], answer) for k in (4, 2)]
        items.append(item)
    table, examples, context = share_prompts(items)
    return ExampleSet(table, examples, Layout(CONTRAST, context)), items


def thumbs():
    table = everything()[0].table
    responses = np.arange(len(table.responses))[::5]
    return unpaired_examples(table, responses, responses % 2 == 0)


def data_for(name):
    kind = batch_kind(LOSSES.get(name))
    return everything()[0] if kind is PairLogps else thumbs() if kind is UnpairedLogps else contrasts()[0]


def made(name, data, reference, hyper=None, **options):
    ref = response_logps(reference, data.table)
    live = live_reference(reference) if "masks" in needs_of(LOSSES.get(name)).columns else None
    config = LossConfig(terms=(LossTerm(name=name, hyper=hyper or {}),), **options)
    return preference_objective(
        config, data.table, data.examples, ref, data.columns, layout=data.layout, reference=live
    )


@pytest.mark.parametrize("name", LOSSES.names())
def test_every_loss_trains(name):
    """Two steps on the whole data: the first loss is the one foretold, weights move, figures are finite."""
    data, model = data_for(name), llama(0)
    objective, first = made(name, data, llama(0))
    before = [p.detach().clone() for p in model.parameters()]
    state = {k: v.clone() for k, v in objective.module.state_dict().items()} if objective.module else {}
    n, logged = len(data.examples), []
    train(
        model,
        data.table,
        data.examples,
        objective,
        TrainConfig(steps=2, batch_size=n, lr=1e-2, warmup=0.0, log_every=1),
        seed=0,
        first_loss=None if first is None else float(first.mean()),
        hooks=Hooks(log=logged.append),
    )
    assert (first is None) == bool(objective.extras)
    assert len(logged) == 2
    assert all(math.isfinite(v) for figures in logged for v in figures.values())
    assert any((p - b).abs().max() > 0 for p, b in zip(model.parameters(), before))
    stuck = [k for k, v in state.items() if torch.equal(objective.module.state_dict()[k], v)]
    assert stuck == []


def logits_of(model, prompt, response):
    """[T, V] float64 logits that predict a response."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        return model(input_ids=ids).logits[0, len(prompt) - 1 : -1].double()


def logp(model, prompt, response):
    rows = logits_of(model, prompt, response).log_softmax(-1)
    return float(rows[torch.arange(len(response)), torch.tensor(response)].sum())


def evaluated(objective, data, model, **options):
    scorer = make_scorer(model)
    rows = pack(data.table, data.examples, pad_token_id=0, share_prompts=scorer.share_prompts)
    return evaluate(scorer, rows, torch.arange(len(data.examples)), objective, **options).tolist()


def ratio(policy, reference, couple):
    return logp(policy, *couple) - logp(reference, *couple)


def softplus(x):
    return math.log1p(math.exp(-x))


def test_answers_to_several_prompts_are_scored_after_their_own():
    """Rationale, MAPL and SRPO from log-probabilities of every prompt and answer alone."""
    data, items = everything()
    policy, reference = llama(1), llama(2)
    got = {
        name: evaluated(made(name, data, reference)[0], data, policy)
        for name in ("rationale", "mapl", "srpo", "vpo")
    }
    for i, item in enumerate(items):
        c, r, _, _, other_c, other_r, cc, rc, cr, rr, _, _ = (
            ratio(policy, reference, couple) for couple in item
        )
        want = {
            "rationale": softplus(0.1 * (c - r)) + softplus(0.1 * logp(policy, *item[2])),
            "vpo": softplus(0.1 * (c - r)) - 0.01 * logp(policy, *item[3]),
            "mapl": softplus(0.1 * (c - r))
            + softplus(0.1 * (c - other_c))
            + softplus(0.1 * (c - r - other_c + other_r)),
            "srpo": 0.5 * (0.1 * (c - r) - 0.1 * (cc - rr)) ** 2
            + 0.25 * ((-0.5 - 0.1 * (rc - cc)) ** 2 + (0.5 - 0.1 * (cr - rr)) ** 2),
        }
        for name, value in want.items():
            assert got[name][i] == pytest.approx(value, abs=1e-4), name


@pytest.mark.parametrize("chunk_tokens", [None, 7])
def test_sparsepo_with_open_masks_is_tdpo1(chunk_tokens):
    """Masks of nearly 1: -log sigmoid(beta (m - KL(rejected) + KL(chosen))), KL(ref || pi) summed over tokens."""
    data, items = everything()
    policy, reference = llama(1), llama(2)
    objective, _ = made("sparsepo", data, reference)
    for parameter in objective.module.parameters():
        if parameter.ndim == 2:
            torch.nn.init.zeros_(parameter)  # masks of exactly 1
    got = evaluated(objective, data, policy, chunk_tokens=chunk_tokens)
    for item, value in zip(items, got):
        kl = []
        for couple in item[:2]:
            q, p = (logits_of(m, *couple).log_softmax(-1) for m in (reference, policy))
            kl.append(float((q.exp() * (q - p)).sum()))
        m = ratio(policy, reference, item[0]) - ratio(policy, reference, item[1])
        assert value == pytest.approx(-math.log(sigmoid(0.1 * (m - kl[1] + kl[0]))), abs=1e-4)


@pytest.mark.parametrize("name", ["sparsepo", "spo_degree"])
def test_scoring_twice_gives_the_same_gradients(name):
    """Of the model and of the learned part, whether an example's logits fit or not."""

    def gradients(chunk_tokens):
        data, policy = everything()[0], llama(1)
        objective, _ = made(name, data, llama(2))
        if name == "spo_degree":
            with torch.no_grad():
                for p in objective.module.parameters():
                    p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
        objective.module.eval()  # without dropout
        scorer = make_scorer(policy)
        rows = pack(data.table, data.examples, pad_token_id=0, share_prompts=scorer.share_prompts)
        backward(scorer, rows, torch.arange(N), objective, divisor=N, chunk_tokens=chunk_tokens)
        return [p.grad for m in (policy, objective.module) for p in m.parameters()]

    for once, twice in zip(gradients(None), gradients(9)):
        assert once.abs().sum() > 0
        torch.testing.assert_close(twice, once, atol=1e-6, rtol=1e-4)


def test_coipo_compares_whole_distributions():
    """k from four divergences, over the last min(3, 5) = 3 tokens where the answers differ in length."""
    data, items = contrasts()
    model = llama(1)
    objective, first = made("coipo", data, model, {"contrast_weight": 0.7})
    assert first is None
    got = evaluated(objective, data, model)
    for item, value in zip(items, got):
        clean, noisy = (
            [logits_of(model, *item[s]).log_softmax(-1) for s in CONTRAST[part]] for part in CONTRAST
        )

        def kl(o, p):
            n = min(len(o), len(p))
            return float((o[-n:].exp() * (o[-n:] - p[-n:])).sum()) / n

        k = kl(clean[0], noisy[0]) - kl(clean[1], noisy[0]) + kl(clean[1], noisy[1]) - kl(clean[0], noisy[1])
        likelihood = -sum(logp(model, *couple) / len(couple[1]) for couple in item) / 2
        contrast = math.log1p(math.exp(k))
        assert value == pytest.approx(likelihood + min(0.7, likelihood / contrast) * contrast, abs=1e-4)


def test_wpo_and_reports_look_at_the_live_distribution():
    data, items = everything()
    policy, reference = llama(1), llama(2)
    objective, _ = made("dpo", data, reference, wpo=True, report=("entropy", "mean_logits"))
    got = evaluated(objective, data, policy)
    scorer = make_scorer(policy)
    rows = pack(data.table, data.examples, pad_token_id=0, share_prompts=scorer.share_prompts)
    _, metrics = backward(scorer, rows, torch.arange(N), objective, divisor=N)
    mean_logits = 0.0
    for item, value in zip(items, got):
        weight = 1.0
        for prompt, response in item[:2]:
            p = logits_of(policy, prompt, response).softmax(-1)
            own = p[torch.arange(len(response)), torch.tensor(response)]
            weight *= float((own.log() - p.square().sum(-1).log()).mean().exp())
        mean_logits += float(logits_of(policy, *item[0]).mean(-1).mean())
        gap = ratio(policy, reference, item[0]) - ratio(policy, reference, item[1])
        assert value == pytest.approx(weight * softplus(0.1 * gap), rel=1e-3)
    assert float(metrics["logits/chosen"]) == pytest.approx(mean_logits, abs=1e-4)
    assert {"entropy", "logits/rejected", "wpo_weight"} <= metrics.keys()
