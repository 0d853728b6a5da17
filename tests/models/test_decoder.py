"""Rows that join and leave a batch on its way get the logits they have alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.models.decoder import Decoder
from pareto.models.decoding_mixture import AdapterRows, DecodingMixture
from pareto.models.lora_factors import read_factors
from pareto.models.mixing import AdapterMixture
from pareto.models.prefix_cache import PrefixCache
from pareto.steer.rules import RULES
from tests.models import adapters_by_hand as by_hand

A, B, C = [1, 10, 11, 12, 13, 14, 15], [1, 20, 21], [1, 30, 31, 32, 33]
NEXT = [40, 41, 42, 43]


@pytest.fixture(scope="module", params=["soup", "mod"])
def mixture(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    adapters = AdapterMixture(
        by_hand.reference(), [read_factors(by_hand.write_ours(root / str(k), k)) for k in range(2)]
    )
    if request.param == "soup":
        return adapters.eval()
    return DecodingMixture(AdapterRows(adapters), RULES.get("reverse_kl")().mix).eval()


def decoder(model, prompts, weights):
    rows = torch.tensor([[w, 1 - w] for w in weights], dtype=torch.float64)
    return Decoder(model, prompts, 0, rows, PrefixCache("p", block_tokens=4))


@torch.no_grad()
def alone(model, prompt, weight):
    """[4, V]: the logits after each of the tokens of NEXT, the prompt by itself."""
    one, seen = decoder(model, [prompt], [weight]), []
    for token in NEXT:
        seen.append(one.logits()[0])
        one.append(torch.tensor([token]))
    return torch.stack(seen).log_softmax(-1)


@torch.no_grad()
def test_rows_join_between_steps_and_leave_and_columns_go(mixture):
    batch, got = decoder(mixture, [A, B], [0.9, 0.2]), {"a": [], "b": [], "c": []}

    def step(names, at):
        logits = batch.logits().log_softmax(-1)
        for name, row in zip(names, logits):
            got[name].append(row)
        batch.append(torch.tensor([NEXT[at[name]] for name in names]))

    step("ab", {"a": 0, "b": 0})
    assert batch.join(decoder(mixture, [C], [0.5]))
    assert batch.ids.shape == (3, 8)  # A has 7 tokens and one more by now
    step("abc", {"a": 1, "b": 1, "c": 0})
    assert batch.keep([1, 2])  # A, the longest, leaves: B has 3 + 2 tokens, C 5 + 1
    batch.trim()
    assert batch.ids.shape == (2, 6)
    step("bc", {"b": 2, "c": 1})
    longer = decoder(mixture, [[*A, *A, *A]], [0.0])
    assert batch.join(longer)  # one that is longer than all that are there
    logits = batch.logits().log_softmax(-1)
    got["b"].append(logits[0])
    got["c"].append(logits[1])
    for name, prompt, weight in (("a", A, 0.9), ("b", B, 0.2), ("c", C, 0.5)):
        want = alone(mixture, prompt, weight)[: len(got[name])]
        np.testing.assert_allclose(torch.stack(got[name]), want, rtol=1e-5, atol=2e-6)
    assert abs(alone(mixture, A, 0.9) - alone(mixture, A, 0.2)).max() > 0.01


@torch.no_grad()
def test_what_cannot_be_put_together_stays_apart():
    model = by_hand.reference()
    fresh = Decoder(model, [A], 0)  # nothing is read yet, so there is nothing to put beside
    other = Decoder(model, [B], 0, None, PrefixCache("p"))
    assert not other.join(fresh)
    assert not fresh.join(other)
    fresh.logits()
    fresh.append(torch.tensor([4]))
    assert other.join(fresh)
