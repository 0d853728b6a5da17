"""Figures of whole distributions, against softmaxes written out; live references; divergences between responses."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pareto.core.logps import make_scorer, target_logps
from pareto.core.packing import pack
from pareto.core.token_extras import (
    Entropy,
    LogSumSquaredProbs,
    MeanLogit,
    ReferenceKL,
    ResponseKL,
    live_reference,
)
from pareto.errors import ConfigError
from tests.core.small import llama, table, with_lora


def laid_out(model, examples, share=True):
    scorer = make_scorer(model)
    t = table()
    rows = pack(t, examples, pad_token_id=0, share_prompts=share and scorer.share_prompts)
    return scorer, rows, t


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_figures_of_one_distribution(scale):
    logits = scale * torch.randn(6, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = logits.softmax(-1)
    want = {
        Entropy(): -(p * logits.log_softmax(-1)).sum(-1),
        MeanLogit(): logits.sum(-1) / 11,
        LogSumSquaredProbs(): p.square().sum(-1).log(),
    }
    for extra, values in want.items():
        torch.testing.assert_close(extra(logits.requires_grad_(), None, slice(0, 6), None), values.detach())
        assert not extra(logits, None, slice(0, 6), None).requires_grad


@pytest.mark.parametrize("share", [True, False])
def test_divergence_from_a_live_reference(share):
    """Against both models' full logits, one sequence at a time."""
    policy, reference = llama(0), llama(1)
    examples = np.array([[0, 1], [6, 8]])
    scorer, rows, t = laid_out(policy, examples, share)
    extra = ReferenceKL(live_reference(reference))
    n = len(rows.target)
    logits = scorer.head(scorer.hidden(rows)[rows.source])
    prepared = extra.prepare(rows)
    got = torch.cat(
        [extra(logits[:5], rows, slice(0, 5), prepared), extra(logits[5:], rows, slice(5, n), prepared)]
    )
    want = []
    for r in examples.ravel():
        prompt, response = t.prompts[t.prompt_of[r]], t.responses[r]
        ids = torch.from_numpy(np.concatenate([prompt, response]).astype(np.int64))[None]
        at = slice(len(prompt) - 1, len(prompt) - 1 + len(response))
        q, p = (m(input_ids=ids).logits[0, at].log_softmax(-1) for m in (reference, policy))
        want.append((q.exp() * (q - p)).sum(-1))
    torch.testing.assert_close(got, torch.cat(want), atol=1e-5, rtol=1e-4)
    got.sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in policy.parameters())
    assert all(p.grad is None for p in reference.parameters())


def test_the_base_under_adapters_is_a_reference():
    base = llama(0)
    policy = with_lora(copy.deepcopy(base))
    scorer, rows, _ = laid_out(policy, np.array([[3, 4, 5]]))
    live = live_reference(policy, adapters_off=True)
    states, whole = live.states(rows), slice(0, len(rows.target))
    torch.testing.assert_close(states, live_reference(base).states(rows))
    assert states.shape == (whole.stop, live.n_layers, live.width)
    assert live.states(rows) is states
    got = target_logps(live.scorer, live.hidden(rows)[rows.source], rows.target)
    same = make_scorer(base)
    want = target_logps(same, same.hidden(rows)[rows.source], rows.target)
    assert (got - target_logps(scorer, scorer.hidden(rows)[rows.source], rows.target)).abs().max() > 0.01
    with live.off():
        torch.testing.assert_close(
            target_logps(live.scorer, live.hidden(rows)[rows.source], rows.target), want
        )
    logits = live.logits(live.hidden(rows)[rows.source])
    logps = logits.log_softmax(-1).gather(-1, rows.target[:, None]).squeeze(-1)
    torch.testing.assert_close(logps, want, atol=1e-5, rtol=1e-5)


def test_only_adapters_can_be_switched_off():
    with pytest.raises(ConfigError, match="PEFT"):
        live_reference(llama(), adapters_off=True)


def test_divergence_between_responses_lines_up_their_ends():
    """Lengths 6, 1, 1 and 3, 9, 5: response 0 against 2 meets in its last token only; the second example in five of them."""
    model = llama(0)
    _, rows, _ = laid_out(model, np.array([[3, 4, 5], [7, 6, 8]]))  # [6, 1, 1] and [9, 3, 5]
    n = len(rows.target)
    logits = torch.randn(
        n, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    got = ResponseKL(0, 2)(logits, rows, slice(0, n), None)
    p = logits.log_softmax(-1).detach()
    want = torch.zeros(n, dtype=torch.float64)
    for first, second in [(5, 7), *((8 + 4 + i, 8 + 12 + i) for i in range(5))]:
        want[first] = (p[first].exp() * (p[first] - p[second])).sum()
    torch.testing.assert_close(got.detach(), want)
    got.sum().backward()
    assert logits.grad.abs().sum() > 0
    second = ResponseKL(0, 2)(logits[8:], rows, slice(8, n), None)  # the second example alone
    torch.testing.assert_close(second.detach(), want[8:])


def test_an_example_cut_in_two_is_refused():
    _, rows, _ = laid_out(llama(0), np.array([[3, 4, 5], [7, 6, 8]]))
    for tokens in (slice(0, 7), slice(3, 8)):
        with pytest.raises(ConfigError, match="all of an example"):
            ResponseKL(0, 2)(torch.zeros(tokens.stop - tokens.start, 4), rows, tokens, None)
