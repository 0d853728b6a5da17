"""A causal model as a policy: its log-probabilities are the model's, end token included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.data.encode import encode_prompts
from pareto.errors import ShapeError
from pareto.models.text_policy import TransformersPolicy
from pareto.objectives import Objectives
from pareto.policy_set import TextPolicy
from tests.models import tiny


@pytest.fixture(scope="module")
def policy():
    return TransformersPolicy(tiny.llama(), tiny.tokenizer(), Objectives(["h", "b"]))


def test_it_is_a_text_policy(policy):
    assert isinstance(policy, TextPolicy)


def test_logps_are_the_models_own(policy):
    tokenizer = tiny.tokenizer()
    prompts, responses = ["the cat", "rain", "the cat"], [" sat on", " fell over old hills", " ran"]
    want = []
    for prompt, response in zip(encode_prompts(tokenizer, prompts), responses):
        reply = [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logps = policy.model(input_ids=torch.tensor([prompt + reply])).logits[0].double().log_softmax(-1)
        want.append(sum(float(logps[len(prompt) - 1 + i, token]) for i, token in enumerate(reply)))
    np.testing.assert_allclose(policy.logps(prompts, responses), want, rtol=1e-5)
    assert policy.logps([], []).shape == (0,)


def test_prompts_and_responses_must_be_as_many(policy):
    with pytest.raises(ShapeError, match="a prompt is needed for each response"):
        policy.logps(["a"], [])


def test_generation_is_seeded_and_ignores_the_neighbours(policy):
    first = policy.generate(tiny.PROMPTS, max_new_tokens=12, seed=4)
    assert policy.generate(tiny.PROMPTS[1:3], max_new_tokens=12, seed=4) == first[1:3]
    assert policy.generate(tiny.PROMPTS, max_new_tokens=12, seed=5) != first
    greedy = policy.generate(tiny.PROMPTS, max_new_tokens=12, temperature=0)
    assert policy.generate(tiny.PROMPTS, max_new_tokens=12, temperature=0, seed=9) == greedy
