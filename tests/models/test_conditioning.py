"""Weights in front of prompts: what is said, that no text says it, and that a fixed prefix is the prefix itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.core.logps import response_logps, sums
from pareto.data.encode import encode_prompts
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ArtifactError, ConfigError, ShapeError, SimplexError
from pareto.models.adapters import FullFineTuning, LoRA, attach, load_policy, save_policy
from pareto.models.conditioning import (
    Conditioning,
    Directions,
    ExtendedEmbedding,
    Targets,
    extend,
    first_rows,
    load_conditioning,
    release,
    save_conditioning,
    tenths,
)
from pareto.models.generate import Sampling
from pareto.models.prompt_policy import PromptPolicy, load_conditioned
from pareto.models.text_policy import DecodablePolicy, response_table
from pareto.objectives import Objectives
from pareto.policy_set import TextPolicy
from tests.models.tiny import PROMPTS, fresh_tokenizer, llama, tokenizer

AB = Objectives(["helpful", "brief"])
SOUTH_EAST = np.array([0.6, -0.8])
VOCABULARY = llama().get_input_embeddings().weight.shape[0]


def conditioning(said=None) -> Conditioning:
    return Conditioning(objectives=AB.names, said=said or Directions(), vocabulary=VOCABULARY)


def test_what_is_said_by_hand():
    own = conditioning()
    # 201 numbers an objective, -100 first: 60 is the 160th of the first, -80 the 20th of the second
    assert own.prefix(SOUTH_EAST) == [VOCABULARY + 160, VOCABULARY + 201 + 20]
    assert own.rows == 402
    with pytest.raises(SimplexError, match="length 1"):
        own.prefix(np.array([0.5, 0.5]))
    with pytest.raises(ConfigError, match="2 whole numbers from -100 to 100"):
        own.ids(np.array([0, 101]))
    assert tenths(np.array([0.26, -1.0, 99.0])).tolist() == [3, -10, 100]


def test_wanted_rewards_by_hand():
    low, high = (-1.0, -2.0), (1.0, 2.0)
    w = np.array([0.8, 0.2])
    # the larger weight asks for the most; the other for -2 + min(2 * .2, 1) * 4
    assert np.allclose(Targets(low=low, high=high).rewards(w), [1.0, -0.4])
    assert np.allclose(Targets(low=low, high=high, rule="linear").rewards(w), [0.6, -1.2])
    by_length = w / np.sqrt(0.68)
    assert np.allclose(
        Targets(low=low, high=high, rule="l2").rewards(w), [-1 + 2 * by_length[0], -2 + 4 * by_length[1]]
    )
    assert np.allclose(Targets(low=low, high=high).rewards(np.array([0.5, 0.5])), high)
    three = Targets(low=(0.0,) * 3, high=(1.0,) * 3)
    assert np.allclose(three.rewards(np.array([0.7, 0.2, 0.1])), [1.0, 0.6, 0.3])
    with pytest.raises(ValueError, match="high must lie above low"):
        Targets(low=(1.0,), high=(1.0,))


def test_no_text_says_it():
    own = conditioning()
    for text in ("helpful: 100", "<|helpful|>", f"token {VOCABULARY + 160}", chr(0x10FFFF), "</s><s>"):
        ids = encode_prompts(tokenizer(), [text])[0]
        assert max(ids) < own.vocabulary
    policy = PromptPolicy(llama(), tokenizer(), AB, SOUTH_EAST, own, "")
    said = own.prefix(SOUTH_EAST)
    for ids in policy.encode(["helpful: 100, brief: 100", ""]).ids:
        assert ids[:2] == said
        assert sum(i >= own.vocabulary for i in ids) == 2


def test_near_numbers_begin_near():
    rows = first_rows(llama(), tokenizer(), AB.names, seed=0)
    assert rows.shape == (402, 32)
    smooth = rows[:201] - torch.stack(
        [llama().get_input_embeddings().weight.detach()[tokenizer()(f"helpful: {n}", add_special_tokens=False)["input_ids"]].mean(0) for n in range(-100, 101)]
    )  # fmt: skip
    step = (smooth[1:] - smooth[:-1]).norm(dim=1).mean()
    assert step < 0.1 * (smooth[0] - smooth[-1]).norm()
    assert torch.equal(rows, first_rows(llama(), tokenizer(), AB.names, seed=0))


def test_only_said_rows_get_a_gradient_and_the_vocabulary_keeps_its_own():
    model = llama()
    plain = model.get_input_embeddings()
    extended = extend(model, first_rows(model, tokenizer(), AB.names, seed=0))
    said = conditioning().prefix(SOUTH_EAST)
    states = model.get_input_embeddings()(torch.tensor([[*said, 5, 6]]))
    assert torch.equal(states[0, 2:], plain.weight[[5, 6]])
    assert torch.equal(states[0, :2], extended.rows[[160, 221]])
    states.sum().backward()
    assert extended.rows.grad is not None
    assert extended.rows.grad.abs().sum(1).nonzero()[:, 0].tolist() == [160, 221]
    assert plain.weight.grad[[5, 6]].abs().sum() > 0
    assert plain.weight.grad.abs().sum(1).count_nonzero() == 2
    release(model)
    assert model.get_input_embeddings() is plain


@pytest.fixture(scope="module", params=["full", "lora"])
def stored(request, tmp_path_factory) -> tuple[Path, Path]:
    """(base, policy) folders of a policy with moved weights."""
    root = tmp_path_factory.mktemp("told")
    base, own = llama(), fresh_tokenizer()
    base.save_pretrained(root / "base")
    own.save_pretrained(root / "base")
    model = attach(base, LoRA(r=2) if request.param == "lora" else FullFineTuning(), seed=0)
    rows = first_rows(model, own, AB.names, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn_like(p))
    (root / "policy").mkdir()
    save_policy(model, root / "policy")
    save_conditioning(conditioning(), rows, root / "policy")
    facts = {"kind": "prompt", "weights": {"brief": -0.8, "helpful": 0.6}}
    (root / "policy" / "policy.json").write_text(json.dumps(facts))
    return root / "base", root / "policy"


def load_base(folder: Path):
    from pareto.models.causal import load_causal_lm

    return load_causal_lm(folder)[0]


def policy_of(stored: tuple[Path, Path]) -> PromptPolicy:
    model, own = load_conditioned(load_base(stored[0]), stored[1])
    return PromptPolicy(model, tokenizer(), AB, SOUTH_EAST, own, "")


def test_a_model_that_was_told_is_the_model_with_the_prefix_in_its_prompts(stored):
    """Scored in packed rows with shared prompts, and one by one."""
    told = load_policy(load_base(stored[0]), stored[1])
    policy = policy_of(stored)
    prompts = encode_prompts(tokenizer(), PROMPTS)
    replies = [[5, 6, 7, 2], [8, 2], [9, 9, 9, 9, 2], [7, 2], [11, 12, 2], [5, 2]]
    prompt_of = np.array([0, 0, 1, 2, 3, 4])
    plain = ResponseTable(Ragged.of(prompts), Ragged.of(replies), prompt_of)
    said = policy.conditioning.prefix(SOUTH_EAST)
    longer = ResponseTable(Ragged.of([said + p for p in prompts]), Ragged.of(replies), prompt_of)
    want = response_logps(policy.model, longer)
    assert np.allclose(response_logps(told, plain), want, atol=1e-4)
    texts = [tokenizer().decode(r) for r in replies]
    table = response_table(tokenizer(), [PROMPTS[i] for i in prompt_of], texts)
    alone = policy.logps([PROMPTS[i] for i in prompt_of], texts)
    assert np.allclose(sums(table, response_logps(told, table)), alone, atol=1e-4)
    with torch.no_grad():  # row by row, without any of the packing
        for prompt, reply, start in zip([prompts[i] for i in prompt_of], replies, longer.responses.offsets):
            logits = policy.model(torch.tensor([said + prompt + reply])).logits[0].log_softmax(-1)
            n = len(said) + len(prompt)
            own = [float(logits[n - 1 + i, t]) for i, t in enumerate(reply)]
            assert np.allclose(own, want[start : start + len(reply)], atol=1e-4)


def test_decoding_under_a_fixed_prefix_is_decoding_behind_it(stored):
    """Greedy replies with caches, left padding and rows that leave, on both sides."""
    told, policy = load_policy(load_base(stored[0]), stored[1]), policy_of(stored)
    from pareto.models.text_policy import TransformersPolicy

    plain = TransformersPolicy(told, tokenizer(), AB)
    assert plain.generate(PROMPTS, max_new_tokens=12, temperature=0) == policy.generate(
        PROMPTS, max_new_tokens=12, temperature=0
    )


def test_every_row_is_told_its_own_weights(stored):
    policy = policy_of(stored)
    assert isinstance(policy, TextPolicy)
    assert isinstance(policy, DecodablePolicy)
    weights = [{"helpful": 1.0, "brief": 0.0}, SOUTH_EAST, [0.0, 1.0]]
    together = policy.replies(PROMPTS[:3], Sampling(max_new_tokens=8), weights=[AB.vector(w) if isinstance(w, dict) else w for w in weights], seed=3)  # fmt: skip
    for i, w in enumerate(weights):
        alone = policy.replies([PROMPTS[i]], Sampling(max_new_tokens=8), weights=w, seed=3)[0]
        assert alone.ids.tolist() == together[i].ids.tolist()
    texts = ["".join(p.text for p in policy.stream([PROMPTS[0]], Sampling(max_new_tokens=8), seed=1))]
    assert texts == policy.generate([PROMPTS[0]], max_new_tokens=8, seed=1)
    cache = policy.prefix_cache(block_tokens=2)
    assert policy.generate(PROMPTS, max_new_tokens=6, cache=cache, temperature=0) == policy.generate(
        PROMPTS, max_new_tokens=6, temperature=0
    )
    with pytest.raises(ShapeError, match="one for each of 3 prompts"):
        policy.encode(PROMPTS[:3], [SOUTH_EAST, SOUTH_EAST])
    with pytest.raises(SimplexError):
        policy.encode(PROMPTS[:3], [0.5, 0.5])


def test_without_adapters_the_policy_is_its_reference(stored):
    told = load_policy(load_base(stored[0]), stored[1])
    if not hasattr(told, "peft_config"):
        pytest.skip("a whole model has no adapters to switch off")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad(), told.disable_adapter():
        assert torch.allclose(told(ids).logits, load_base(stored[0])(ids).logits)
    with torch.no_grad():
        assert not torch.allclose(told(ids).logits, load_base(stored[0])(ids).logits)


def test_what_is_broken_is_named(stored, tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_conditioning(tmp_path)
    save_conditioning(conditioning(), torch.zeros(3, 4), tmp_path)
    with pytest.raises(ArtifactError, match="holds 3 rows; 402 statements"):
        load_conditioning(tmp_path)
    own, rows = load_conditioning(stored[1])
    assert own == conditioning()
    assert isinstance(policy_of(stored).model.get_input_embeddings(), ExtendedEmbedding)
    assert torch.equal(policy_of(stored).model.get_input_embeddings().rows.detach(), rows)
