"""Pooled features against a model's own forward pass of one sequence at a time."""

from __future__ import annotations

import numpy as np
import torch

from pareto.data.pairs import Ragged, ResponseTable
from pareto.models.hidden_features import prompt_features, response_features
from tests.models import tiny

PROMPTS = Ragged.of([[5, 6, 7], [8], [9, 10]])
TABLE = ResponseTable(PROMPTS, Ragged.of([[11, 12], [13], [14, 15, 16], []]), np.array([0, 0, 1, 2]))


def states(model, ids):
    with torch.no_grad():
        tokens = torch.tensor([ids])
        return model.get_input_embeddings()(tokens)[0], model.base_model(input_ids=tokens).last_hidden_state[
            0
        ]


def test_prompts_one_by_one():
    model = tiny.llama(layers=1)
    found = prompt_features(model, PROMPTS, batch_size=2)
    for i in range(len(PROMPTS)):
        embedded, hidden = states(model, PROMPTS[i].tolist())
        want = torch.cat([embedded.mean(0), hidden.mean(0), hidden[-1]]).numpy()
        np.testing.assert_allclose(found[i], want, atol=1e-5)


def test_responses_are_pooled_over_their_own_tokens_after_their_prompt():
    model = tiny.llama(layers=1)
    found = response_features(model, TABLE)
    for i in range(len(TABLE.responses)):
        prompt, own = PROMPTS[int(TABLE.prompt_of[i])].tolist(), TABLE.responses[i].tolist()
        embedded, hidden = states(model, prompt + own)
        n = max(len(own), 1)  # an empty response leaves the prompt's last state
        want = torch.cat([embedded[-n:].mean(0), hidden[-n:].mean(0), hidden[-1]]).numpy()
        np.testing.assert_allclose(found[i], want, atol=1e-5)
