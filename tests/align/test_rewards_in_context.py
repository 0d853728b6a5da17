"""Rewards in context: what is asked for by hand; one policy that gives more of what is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto import rng
from pareto.align import RewardsInContext
from pareto.align.rewards_in_context import SCALE, Scale, wanted_rewards
from pareto.core.loop import TrainConfig
from pareto.models.adapters import FullFineTuning
from pareto.tasks.lab import Lab
from tests.align.test_dpa import VALUES, fit, value

WEIGHTS = [{"helpful": 1.0, "brief": 0.0}, {"helpful": 0.0, "brief": 1.0}]


def method(**more: Any) -> RewardsInContext:
    settings = {
        "rounds": 1,
        "draws": 512,
        "rehearsal": 256,
        "reward": VALUES,
        "training": TrainConfig(steps=300, batch_size=64, lr=3e-3),
        "online_training": TrainConfig(steps=60, batch_size=64, lr=1e-3),
        "adapter": FullFineTuning(),
    }
    return RewardsInContext(**{**settings, **more})


def test_the_scale_of_the_data_by_hand():
    rewards = np.column_stack([np.arange(101.0), np.full(101, 3.0)])
    scale = Scale.of(rewards, 0.05, 0.95, 0.7)
    std = np.sqrt((101**2 - 1) / 12)  # of 0..100
    assert scale.mean == pytest.approx((50.0, 3.0))
    assert scale.std[0] == pytest.approx(std)
    assert (scale.low[0], scale.high[0], scale.keep[0]) == pytest.approx((-45 / std, 45 / std, 20 / std))
    assert scale.high[1] == pytest.approx(scale.low[1] + 0.1)  # a constant reward still has two ends
    assert scale.standardised(rewards)[75, 0] == pytest.approx(25 / std)


def test_what_is_wanted_online_lies_near_the_front(tmp_path: Path):
    scale = Scale(mean=(0.0,) * 3, std=(1.0,) * 3, low=(-1.0,) * 3, high=(2.0,) * 3, keep=(0.5,) * 3)
    wanted = wanted_rewards(scale, 600, rng.generator("test"))
    assert ((wanted == 2.0).sum(1) == 2).all()
    free = wanted[wanted != 2.0]
    assert free.min() >= -1.0
    assert free.mean() == pytest.approx(0.5, abs=0.1)
    scale.write(tmp_path)
    assert Scale.read(tmp_path) == scale


def test_one_policy_gives_more_of_what_is_asked(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    own = method()
    done = fit(own, small_lab, WEIGHTS, lab_reference, tmp_path)
    cells = own.plan(small_lab, WEIGHTS, [0])
    assert [c.role for c in cells] == ["prerequisite"] * 4 + ["policy"] * 2
    assert (done[cells[3].id] / SCALE).is_file()
    first, second = (value(small_lab, done[c.id], w, lab_reference) for c, w in zip(cells[-2:], WEIGHTS))
    assert first[0] > second[0] + 1.0
    assert second[1] > first[1] + 1.0
    stored = json.loads((done[cells[-1].id] / "policy.json").read_text())
    assert stored == {"kind": "prompt", "weights": WEIGHTS[1], "weights_kind": "simplex"}
