"""Beginnings of prompts are read once, and never under another policy's or other weights' keys and values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.errors import UsageError
from pareto.models.generate import Sampling, draw_tokens
from pareto.models.lora_factors import read_factors
from pareto.models.mixing import AdapterMixture
from pareto.models.prefix_cache import PrefixCache
from tests.models import adapters_by_hand as by_hand
from tests.models import tiny

START = [1, *range(10, 21)]
PROMPTS = [[*START, 30, 31], [*START, 40], [1, 50], [7], START[:9]]
ONE, TWO = np.array([1.0, 0.0]), np.array([0.0, 1.0])


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return AdapterMixture(
        by_hand.reference(), [read_factors(by_hand.write_ours(root / str(k), k)) for k in range(2)]
    ).eval()


def drawn(model, prompts, cache, coefficients=None):
    rows = None if coefficients is None else np.tile(coefficients, (len(prompts), 1))
    sampling = Sampling(max_new_tokens=6)
    return list(
        draw_tokens(model, prompts, sampling, ends=frozenset(), pad=0, seed=3, coefficients=rows, cache=cache)
    )


def test_warm_is_cold_bit_for_bit_and_close_to_no_cache(mixture):
    cache = PrefixCache("p", block_tokens=4)
    cold = drawn(mixture, PROMPTS, cache, ONE)
    assert (cache.hits, cache.misses) == (5, 3)  # blocks of 4: 0+3, 3+0, 0, 0, 2+0
    warm = drawn(mixture, PROMPTS, cache, ONE)
    assert cache.misses == 3
    assert warm == cold  # log-probabilities too
    plain = drawn(mixture, PROMPTS, None, ONE)
    assert [(d.row, d.id) for d in plain] == [(d.row, d.id) for d in cold]
    np.testing.assert_allclose([d.logp for d in plain], [d.logp for d in cold], atol=1e-4)


def test_a_beginning_read_under_other_weights_is_never_used(mixture):
    cache = PrefixCache("p", block_tokens=4)
    drawn(mixture, PROMPTS, cache, ONE)
    before = cache.hits
    got = drawn(mixture, PROMPTS[:1], cache, TWO)
    assert cache.hits == before
    assert got == drawn(mixture, PROMPTS[:1], PrefixCache("p", block_tokens=4), TWO)
    # what it would be otherwise: the weights' own effect is mostly in the beginning
    wrong = PrefixCache("p", block_tokens=4)
    wrong._key = lambda model, tokens, coefficients: ("tokens", tuple(tokens))  # type: ignore[method-assign]
    drawn(mixture, PROMPTS[:1], wrong, ONE)
    leaked = drawn(mixture, PROMPTS[:1], wrong, TWO)
    assert abs(leaked[0].logp - got[0].logp) > 1e-3 or leaked[0].id != got[0].id


def test_keys_tell_everything_apart(mixture):
    c = torch.tensor([0.5, 0.5], dtype=torch.float64)
    key = PrefixCache("p")._key
    keys = {
        key(mixture, [1, 2], c),
        key(mixture, [1, 2, 3], c),
        key(mixture, [12], c),
        key(mixture, [1, 2], c + torch.tensor([1e-9, -1e-9])),
        key(mixture, [1, 2], None),
        PrefixCache("q")._key(mixture, [1, 2], c),
    }
    assert len(keys) == 6


def test_the_oldest_blocks_go_when_it_is_full():
    model = by_hand.reference()
    drawn(model, PROMPTS, cache := PrefixCache("p", block_tokens=4))
    one = cache.bytes // len(cache)
    small = PrefixCache("p", block_tokens=4, max_bytes=2 * one)
    assert drawn(model, PROMPTS, small) == drawn(model, PROMPTS, cache)
    assert len(small) == 2
    assert small.bytes == 2 * one
    assert len(PrefixCache("p", max_bytes=0)) == 0


def test_models_that_keep_something_else_are_refused():
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny.llama(layers=1)
            self.config = self.inner.config

        def forward(self, input_ids, attention_mask, use_cache, past_key_values=None, position_ids=None):
            return type(
                "Out", (), {"logits": self.inner(input_ids=input_ids).logits, "past_key_values": object()}
            )

    with pytest.raises(UsageError, match="go without the cache"):
        drawn(Recurrent(), PROMPTS, PrefixCache("p"))
    with pytest.raises(UsageError, match="block_tokens must be at least 1"):
        PrefixCache("p", block_tokens=0)
