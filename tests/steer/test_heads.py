"""Steering by heads: corners are the heads themselves, weights between are their mixture, whatever was stored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.core.logps import response_logps, sums
from pareto.errors import SimplexError, UsageError
from pareto.models.adapters import LoRA, attach, save_policy
from pareto.models.heads import FullHeads, LowRankHeads, attach_heads, mark_examples
from pareto.models.text_policy import response_table
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet, TextPolicy
from pareto.state import manifest
from tests.models import tiny

OBJECTIVES = Objectives(["helpful", "brief"])
PROMPTS, REPLIES = ["the cat", "rain", "a dog ran after"], [" sat on", " fell over", " it"]


@pytest.fixture(scope="module", params=[FullHeads(), LowRankHeads(r=2)], ids=lambda f: f.kind)
def run(request, tmp_path_factory) -> tuple[PolicySet, list[np.ndarray]]:
    """A run of one policy with heads and one without, and what each head says of some replies."""
    folder = tmp_path_factory.mktemp("run")
    reference = folder / "prerequisites" / "base"
    tiny.llama(layers=1).save_pretrained(reference)
    tiny.tokenizer().save_pretrained(reference)
    model = attach(tiny.llama(layers=1), LoRA(r=2), seed=0)
    bank = attach_heads(model, request.param, 2, seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=draw))
    table = response_table(tiny.tokenizer(), PROMPTS, REPLIES)
    said = []
    for j in range(2):
        marked, order = mark_examples(table, np.arange(3)[:, None], np.full(3, j), bank.stride)
        said.append(sums(marked, response_logps(model, marked))[order[:, 0]])
    bank.release(model)
    own = folder / "policies" / "h"
    save_policy(model, own)
    # stored in another order than the run's objectives: names decide, not places
    bank.heads = torch.nn.ModuleList(reversed(list(bank.heads)))
    bank.save(own, ["brief", "helpful"])
    weights = {"helpful": 0.5, "brief": 0.5}
    (own / "policy.json").write_text(json.dumps({"kind": "heads", "weights": weights, "beta": 1.0}))
    facts = {"needs": {"reference": "prerequisites/base"}}
    values = {"helpful": 1.0, "brief": 0.0}
    records = (
        PolicyRecord("other", "adapter", values, {"helpful": 1.0, "brief": 0.0}, facts=facts),
        PolicyRecord("h", "heads", values, weights, files=manifest.digests(own), facts=facts),
    )
    return PolicySet(folder, records, OBJECTIVES), said


def test_a_corner_is_that_objectives_head(run: tuple[PolicySet, list[np.ndarray]]):
    policies, said = run
    assert abs(said[0] - said[1]).max() > 0.01
    for j in range(2):
        policy = policies.steer(np.eye(2)[j].tolist(), method="heads")
        assert isinstance(policy, TextPolicy)
        np.testing.assert_allclose(policy.logps(PROMPTS, REPLIES), said[j], atol=1e-5)


def test_weights_between_are_what_a_policy_stored_for_them_says(run: tuple[PolicySet, list[np.ndarray]]):
    policies, _ = run
    stored = policies.policy("h").logps(PROMPTS, REPLIES)
    np.testing.assert_allclose(
        policies.steer([0.5, 0.5], method="heads").logps(PROMPTS, REPLIES), stored, atol=1e-6
    )
    path = [policies.steer([w, 1 - w], method="heads").logps(PROMPTS, REPLIES) for w in (0.1, 0.5, 0.9)]
    assert min(abs(path[0] - path[1]).max(), abs(path[1] - path[2]).max()) > 1e-3
    assert policies.steer([0.9, 0.1], method="heads").generate(["rain"], max_new_tokens=3)


def test_what_cannot_be_served_is_said(run: tuple[PolicySet, list[np.ndarray]]):
    policies, _ = run
    with pytest.raises(UsageError, match="takes no scale; its options are"):
        policies.steer([0.5, 0.5], method="heads", scale=2)
    with pytest.raises(UsageError, match=r"has action heads; train them with method mah_dpo"):
        replace(policies, records=policies.records[:1]).steer([0.5, 0.5], method="heads")
    with pytest.raises(SimplexError):
        policies.steer([1.5, -0.5], method="heads")


def test_changed_files_are_not_served(run: tuple[PolicySet, list[np.ndarray]], tmp_path: Path):
    policies, _ = run
    record = policies["h"]
    changed = replace(record, files={**record.files, "heads.safetensors": "0" * 64})
    with pytest.raises(Exception, match="sha256"):
        replace(policies, records=(changed,)).steer([0.5, 0.5], method="heads")
