"""On the lab every reply is enumerated: what is delivered follows what is asked for, exactly measured."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from pareto.align.modpo import MODPO
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.models.adapters import LoRA
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest
from pareto.tasks.lab import exact

CORNERS = [{"helpful": 1.0, "brief": 0.0}, {"helpful": 0.0, "brief": 1.0}]
STEPS = np.linspace(0, 1, 6)


@pytest.fixture(scope="module")
def run(small_lab, lab_reference, tmp_path_factory):
    """The two corner policies of a small lab as adapters: plain DPO on the pairs of one objective each."""
    root = tmp_path_factory.mktemp("lab-run")
    shutil.copytree(lab_reference, root / "prerequisites" / "reference")
    training = TrainConfig(steps=120, batch_size=64, lr=1e-2)
    method = MODPO(beta=1.0, mass_anchor=0.1, adapter=LoRA(r=4, alpha=8), training=training)
    records = []
    for cell in method.plan(small_lab, CORNERS, [0])[1:]:
        folder = root / "policies" / cell.id
        folder.mkdir(parents=True)
        scratch = root / f"{cell.id}-scratch"
        scratch.mkdir()
        method.train(cell, small_lab, FitContext(folder, scratch, needs={"reference": lab_reference}))
        weights = dict(cell.weights or {})
        facts = {"needs": {"reference": "prerequisites/reference"}}
        records.append(
            PolicyRecord(cell.id, "adapter", weights, weights, files=manifest.digests(folder), facts=facts)
        )
    return PolicySet(root, tuple(records), small_lab.objectives)


@pytest.mark.parametrize("method", ["soup", "mod"])
def test_delivered_reward_follows_the_requested_weight(small_lab, run, method):
    prompts = np.arange(small_lab.prompts)
    rewards = small_lab.world.rewards()[:, prompts]
    policy = run.steer([0.5, 0.5], method=method)
    values = []
    for w in STEPS:
        c = torch.from_numpy(policy.rows([w, 1 - w], 1))
        with policy.model.at(c):
            logps, outside = small_lab.enumerate(policy.model, prompts, policy.tokenizer)
        assert outside < 0.2
        values.append(exact.values(logps, rewards).mean(0))
    helpful, brief = np.array(values).T
    assert (np.diff(helpful) > 0).all(), helpful
    assert (np.diff(brief) < 0).all(), brief
    assert np.ptp(helpful) > 0.3  # the corners differ by more than rounding


def test_enumeration_of_a_vertex_is_that_policy(small_lab, run):
    prompts = np.arange(4)
    for method in ("soup", "mod"):
        policy = run.steer([1.0, 0.0], method=method)
        stored = run.policy(run.records[0] if run.records[0].weights == CORNERS[0] else run.records[1])
        with policy.model.at(torch.from_numpy(policy.rows(None, 1))):
            got, _ = small_lab.enumerate(policy.model, prompts, policy.tokenizer)
        want, _ = small_lab.enumerate(stored.model, prompts, stored.tokenizer)
        np.testing.assert_allclose(got, want, atol=2e-5)
