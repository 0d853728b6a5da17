"""MODPO where no pairs are at hand: sampled from the reference, labelled by rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align import MODPO
from pareto.align.preference_job import Reference
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.errors import ConfigError
from pareto.models.adapters import FullFineTuning
from pareto.tasks.lab import Lab

HALF = {"helpful": 0.5, "brief": 0.5}


def method(**more: Any) -> MODPO:
    settings = {
        "beta": 1.0,
        "mass_anchor": 0.1,
        "margins": "explicit",
        "from_rewards": 6000,
        "adapter": FullFineTuning(),
        "training": TrainConfig(steps=250, batch_size=64, lr=3e-3),
    }
    return MODPO(**{**settings, **more})


def test_the_policy_reaches_its_optimum_without_the_tasks_pairs(
    small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    own = method()
    reference, sampling, cell = own.plan(small_lab, [HALF], [0])
    assert cell.needs == {"reference": reference.id, "pairs": sampling.id}
    pairs = FitContext(tmp_path / "pairs", tmp_path / "scratch", {"reference": lab_reference})
    pairs.folder.mkdir()
    pairs.scratch.mkdir()
    assert own.train(sampling, small_lab, pairs).cost.generated_tokens > 0
    needs = {"reference": lab_reference, "pairs": pairs.folder}
    context = FitContext(tmp_path / "policy", tmp_path / "scratch", needs)
    context.folder.mkdir()
    sampled = Reference(small_lab, lab_reference, context)
    assert len(sampled.pairs) == 6000
    assert sampled.rewards.shape == (len(sampled.pairs.table.responses), 2)
    gap = sampled.rewards[sampled.pairs.a] - sampled.rewards[sampled.pairs.b]
    assert np.mean(np.sign(gap) == sampled.pairs.labels) > 0.75  # labels are draws from the rewards
    assert not np.array_equal(sampled.pairs.a, small_lab.load_pairs(lab_reference).a[:6000])
    own.train(cell, small_lab, context)
    facts = small_lab.score(context.folder, "model", HALF, "selection", {"reference": lab_reference}).facts
    assert facts["optimality"] > 0.8


def test_another_number_is_another_sample(small_lab: Lab):
    plans = [method(from_rewards=n).plan(small_lab, [HALF], [0]) for n in (100, 200)]
    assert plans[0][1].id != plans[1][1].id
    assert method(from_rewards=None).plan(small_lab, [HALF], [0])[1].weights == HALF


def test_a_task_that_cannot_sample_says_so(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    class Fixed:
        kind = "fixed"

    cell = method().plan(small_lab, [HALF], [0])[1]
    with pytest.raises(ConfigError, match="task 'fixed' cannot"):
        method().train(cell, Fixed(), FitContext(tmp_path, tmp_path, {"reference": lab_reference}))
