"""Steering by prompt: any direction, another one in every row, and what cannot be told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, SimplexError, UsageError
from pareto.models.adapters import LoRA, attach, save_policy
from pareto.models.conditioning import Conditioning, Directions, first_rows, save_conditioning
from pareto.models.prompt_policy import PromptPolicy
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest
from tests.models import tiny

OBJECTIVES = Objectives(["helpful", "brief"])
AWAY = {"helpful": 0.6, "brief": -0.8}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> PolicySet:
    """A run of one policy that was measured at two directions."""
    folder = tmp_path_factory.mktemp("run")
    reference = folder / "prerequisites" / "base"
    base = tiny.llama(layers=1)
    base.save_pretrained(reference)
    tiny.tokenizer().save_pretrained(reference)
    model = attach(base, LoRA(r=2), seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(0.05 * torch.randn(p.shape, generator=draw))
    records = []
    vocabulary = base.get_input_embeddings().weight.shape[0]
    # said in another order than the run's objectives: names decide, not places
    said = Conditioning(objectives=("brief", "helpful"), said=Directions(), vocabulary=vocabulary)
    rows = 20 * first_rows(base, tiny.tokenizer(), said.objectives, seed=0)
    for name, weights in (("a", {"helpful": 1.0, "brief": 0.0}), ("b", AWAY)):
        own = folder / "policies" / name
        save_policy(model, own)
        save_conditioning(said, rows, own)
        (own / "policy.json").write_text(json.dumps({"kind": "prompt", "weights": weights}))
        facts = {"needs": {"reference": "prerequisites/base"}}
        values = {"helpful": 1.0, "brief": 0.0}
        records.append(
            PolicyRecord(
                name, "prompt", values, weights, "direction", files=manifest.digests(own), facts=facts
            )
        )
    return PolicySet(folder, tuple(records), OBJECTIVES)


def test_a_direction_between_is_told(run: PolicySet):
    policy = run.steer({"helpful": 0.8, "brief": -0.6}, method="prompt")
    assert isinstance(policy, PromptPolicy)
    vocabulary = policy.conditioning.vocabulary
    # brief first: -60 is the 41st number, helpful 80 the 181st of its own 201
    assert policy.encode(["rain"]).ids[0][:2] == [vocabulary + 40, vocabulary + 201 + 180]
    assert "helpful=0.8, brief=-0.6" in policy.describe()
    other = run.steer(AWAY, method="prompt")
    assert not np.allclose(policy.logps(["rain"], [" fell"]), other.logps(["rain"], [" fell"]), atol=1e-4)
    assert np.allclose(
        policy.logps(["rain", "rain"], [" fell"] * 2, weights=[AWAY, {"helpful": 0.8, "brief": -0.6}]),
        np.concatenate([other.logps(["rain"], [" fell"]), policy.logps(["rain"], [" fell"])]),
        atol=1e-5,
    )


def test_auto_tells_and_a_measured_policy_is_told_what_it_was_measured_at(run: PolicySet):
    assert run.steer({"helpful": 0.8, "brief": 0.6}).weights.tolist() == [0.8, 0.6]
    assert np.allclose(run.steer(AWAY).logps(["rain"], [" fell"]), run.policy("b").logps(["rain"], [" fell"]))


def test_what_cannot_be_told_is_said(run: PolicySet, tmp_path: Path):
    with pytest.raises(SimplexError, match="length 1"):
        run.steer({"helpful": 0.5, "brief": 0.5}, method="prompt")
    with pytest.raises(UsageError, match="no extrapolation"):
        run.steer(AWAY, method="prompt", extrapolate=True)
    none = replace(run, records=tuple(replace(r, kind="adapter") for r in run))
    with pytest.raises(UsageError, match=r"no policy of .* reads weights"):
        none.steer(AWAY, method="prompt")
    broken = replace(run, records=(replace(run[1], weights=None),))
    with pytest.raises(ArtifactError, match="states none"):
        broken.policy("b")
