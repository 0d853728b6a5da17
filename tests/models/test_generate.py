"""Sampled replies: right distribution, right cache, and nobody in the batch matters to a neighbour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.data.encode import encode_prompts
from pareto.errors import DataError, NumericsError, ShapeError
from pareto.models.generate import Sampling, choose, end_ids, generate, generate_ids
from pareto.models.streaming import GrowingText, stream
from tests.models import tiny


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = tiny.llama()
    for p in model.parameters():
        p.data *= 3  # sharper than initial weights, so that greedy choices are clear
    return model


def ids_of(model, prompts, sampling, seed=0):
    return [tuple(r.ids.tolist()) for r in generate(model, tiny.tokenizer(), prompts, sampling, seed=seed)]


def greedy_by_hand(model, prompt, n, ends):
    """No cache, no batch, no padding."""
    ids = list(prompt)
    while len(ids) - len(prompt) < n:
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)
        if token in ends:
            break
    return tuple(ids[len(prompt) :])


def test_greedy_equals_one_prompt_at_a_time_without_cache(model):
    tokenizer = tiny.tokenizer()
    prompts = encode_prompts(tokenizer, tiny.PROMPTS)
    ends = end_ids(model, tokenizer)
    got = ids_of(model, tiny.PROMPTS, Sampling(max_new_tokens=12, temperature=0.0))
    assert got == [greedy_by_hand(model, p, 12, ends) for p in prompts]


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_a_reply_does_not_depend_on_its_neighbours(model, top_p):
    def sampled(prompts, batch_size):
        return ids_of(model, prompts, Sampling(max_new_tokens=16, top_p=top_p, batch_size=batch_size), seed=3)

    together = sampled(tiny.PROMPTS, 32)
    assert sampled(tiny.PROMPTS, 2) == together
    assert sampled(tiny.PROMPTS[::-1], 3) == together[::-1]
    assert [sampled([p], 1)[0] for p in tiny.PROMPTS] == together


def test_rows_that_are_done_leave_and_the_others_go_on(model):
    prompts = [[1, 5 + i, *range(20, 20 + i % 4)] for i in range(16)]
    ends, sampling = frozenset(range(3, 300, 5)), Sampling(max_new_tokens=16, batch_size=16)

    def sampled(some):
        return generate_ids(model, some, sampling, ends=ends, pad=0, seed=2)

    together = sampled(prompts)
    assert len({len(row) for row in together}) > 3  # they end at different times
    assert together == [sampled([p])[0] for p in prompts]


def test_models_with_absolute_positions_start_every_row_at_its_first_token():
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, eos_token_id=2, bos_token_id=1
    )
    gpt = GPT2LMHeadModel(config).eval()
    for p in gpt.parameters():
        p.data *= 5
    prompts = encode_prompts(tiny.tokenizer(), tiny.PROMPTS)
    got = ids_of(gpt, tiny.PROMPTS, Sampling(max_new_tokens=8, temperature=0.0))
    assert got == [greedy_by_hand(gpt, p, 8, {2}) for p in prompts]


def test_a_longer_reply_starts_with_the_shorter_one(model):
    short = ids_of(model, tiny.PROMPTS, Sampling(max_new_tokens=5))
    long = ids_of(model, tiny.PROMPTS, Sampling(max_new_tokens=16))
    assert [reply[:5] for reply in long] == short


def test_seeds_and_repeated_prompts_draw_anew(model):
    sampling = Sampling(max_new_tokens=16)
    first, second = ids_of(model, ["the cat", "the cat"], sampling)
    assert first != second
    assert ids_of(model, ["the cat"], sampling, seed=1) != [first]
    assert ids_of(model, ["the cat"], sampling) == [first]


def test_draws_follow_the_model(model):
    """First tokens of many replies against the model's own distribution: chi-square over the likeliest tokens."""
    prompt = encode_prompts(tiny.tokenizer(), ["a dog"])[0]
    n = 4000
    with torch.no_grad():
        p = model(input_ids=torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy()
    rows = generate_ids(
        model, [prompt] * n, Sampling(max_new_tokens=1, batch_size=n), ends=frozenset(), pad=0, seed=5
    )
    counts = np.bincount([r[0] for r in rows], minlength=len(p))
    top = np.argsort(-p)[:20]
    expected = np.append(p[top], 1 - p[top].sum()) * n
    seen = np.append(counts[top], n - counts[top].sum())
    chi2 = ((seen - expected) ** 2 / expected).sum()
    assert chi2 < 45.3  # 99.9 % quantile at 20 degrees of freedom


def test_choose_inverts_the_distribution_function():
    logits = torch.log(torch.tensor([[0.5, 0.2, 0.3]])).expand(6, 3)
    draws = torch.tensor([0.0, 0.49, 0.51, 0.69, 0.71, 0.999], dtype=torch.float64)
    assert choose(logits, draws, Sampling()).tolist() == [0, 0, 1, 1, 2, 2]
    # half the temperature squares the probabilities: .25, .04, .09 of .38
    assert choose(logits, draws, Sampling(temperature=0.5)).tolist() == [0, 0, 0, 1, 1, 2]
    # the two likeliest reach .6: 5/8 and 3/8
    assert choose(logits, draws, Sampling(top_p=0.6)).tolist() == [0, 0, 0, 2, 2, 2]
    assert choose(logits, draws, Sampling(temperature=0.0)).tolist() == [0] * 6
    assert choose(logits, draws, Sampling(top_p=1e-9)).tolist() == [0] * 6
    impossible_first = torch.tensor([[float("-inf"), 0.0]])
    assert choose(impossible_first, torch.zeros(1, dtype=torch.float64), Sampling()).tolist() == [1]


def test_broken_logits_are_an_error():
    with pytest.raises(NumericsError, match="not finite"):
        choose(torch.tensor([[0.0, float("nan")]]), torch.zeros(1), Sampling())


def test_an_end_token_ends_a_reply_and_only_it(model):
    tokenizer = tiny.tokenizer()
    plain = ids_of(model, tiny.PROMPTS, Sampling(max_new_tokens=12, temperature=0.0))
    stop, before = plain[0][3], model.generation_config.eos_token_id
    model.generation_config.eos_token_id = [stop]
    try:
        replies = generate(model, tokenizer, tiny.PROMPTS, Sampling(max_new_tokens=12, temperature=0.0))
    finally:
        model.generation_config.eos_token_id = before
    for reply, whole in zip(replies, plain):
        cut = next((i + 1 for i, t in enumerate(whole) if t in (stop, tokenizer.eos_token_id)), len(whole))
        assert tuple(reply.ids.tolist()) == whole[:cut]
        assert reply.ended == (whole[cut - 1] in (stop, tokenizer.eos_token_id))


def test_replies_stay_within_the_models_positions():
    model = tiny.llama(max_positions=16)
    replies = ids_of(model, ["the cat"], Sampling(max_new_tokens=50))
    assert len(encode_prompts(tiny.tokenizer(), ["the cat"])[0]) + len(replies[0]) <= 16
    with pytest.raises(DataError, match="leaves no room"):
        ids_of(model, ["the cat " * 20], Sampling())


def test_models_without_position_ids_or_cache_read_equal_lengths_and_whole_rows(model):
    class Plain(torch.nn.Module):
        """A model that takes no positions and keeps no cache."""

        def __init__(self):
            super().__init__()
            self.inner, self.config, self.generation_config = model, model.config, None

        def forward(self, input_ids, attention_mask, use_cache):
            assert attention_mask.all()
            out = self.inner(input_ids=input_ids)
            return type("Out", (), {"logits": out.logits})

    sampling = Sampling(max_new_tokens=8)
    assert ids_of(Plain().eval(), tiny.PROMPTS, sampling) == ids_of(model, tiny.PROMPTS, sampling)


def test_nothing_to_generate(model):
    assert generate(model, tiny.tokenizer(), [], Sampling()) == []


def test_every_prompt_may_have_a_seed_of_its_own(model):
    prompts = ["the cat", "rain", "the cat"]
    sampling = Sampling(max_new_tokens=12)
    got = ids_of(model, prompts, sampling, seed=[5, 6, 7])
    assert got == [ids_of(model, [p], sampling, seed=s)[0] for p, s in zip(prompts, (5, 6, 7))]
    with pytest.raises(ShapeError, match="one seed for each of 3 prompts; got 2"):
        ids_of(model, prompts, sampling, seed=[1, 2])


def test_log_probabilities_are_the_models_own_before_temperature_and_filters(model):
    sampling = Sampling(max_new_tokens=10, temperature=0.7, top_p=0.9)
    for reply, prompt in zip(
        generate(model, tiny.tokenizer(), tiny.PROMPTS, sampling),
        encode_prompts(tiny.tokenizer(), tiny.PROMPTS),
    ):
        ids = torch.tensor([[*prompt, *reply.ids.tolist()]])
        with torch.no_grad():
            logps = model(input_ids=ids).logits[0].double().log_softmax(-1)
        want = [float(logps[len(prompt) - 1 + i, t]) for i, t in enumerate(reply.ids)]
        np.testing.assert_allclose(reply.logps, want, atol=1e-4)


def test_pieces_put_together_are_the_reply(model):
    tokenizer, sampling = tiny.tokenizer(), Sampling(max_new_tokens=20)
    replies = generate(model, tokenizer, tiny.PROMPTS, sampling, seed=2)
    texts, ids, ends = ["" for _ in replies], [[] for _ in replies], [None for _ in replies]
    for piece in stream(model, tokenizer, tiny.PROMPTS, sampling, seed=2):
        assert ends[piece.row] is None
        texts[piece.row] += piece.text
        ids[piece.row].append(piece.id)
        ends[piece.row] = piece.end
    assert texts == [r.text for r in replies]
    assert ids == [r.ids.tolist() for r in replies]
    assert ends == ["stop" if r.ended else "length" for r in replies]


def test_half_a_character_is_held_back():
    text = GrowingText(tiny.tokenizer())
    ids = tiny.tokenizer()("né", add_special_tokens=False)["input_ids"]
    pieces = [text.add(i, last=False) for i in ids]
    assert "".join(pieces) == "né"
    assert all("\ufffd" not in p for p in pieces)
    assert len(ids) > 2  # é is two bytes here
    assert "" in pieces
    half = GrowingText(tiny.tokenizer())
    assert half.add(ids[0], last=False) == "n"
    assert half.add(ids[1], last=True) == "\ufffd"  # nothing more comes


def test_closing_a_stream_ends_the_work(model):
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    try:
        pieces = stream(model, tiny.tokenizer(), ["the cat"], Sampling(max_new_tokens=20))
        next(pieces)
        pieces.close()
    finally:
        handle.remove()
    assert len(calls) == 1
    assert not model.training
