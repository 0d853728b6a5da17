"""Group-robust DPO: its weights by hand, its training with known and with found groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import pareto
from pareto.align import GroupDPO
from pareto.align.group_dpo import GroupWeights
from pareto.errors import UsageError
from pareto.tasks.lab import Lab
from tests.align.test_maxmin import QUICK, study
from tests.lab_fixtures import SMALL

LN2 = float(np.log(2.0))


def test_weights_by_hand():
    """Groups of three and one example: rarity 4/3 and 4. A loss of ln 2 + 1 in group 1 moves its log-weight by 0.1 * 4."""
    robust = GroupWeights(np.array([0, 0, 1, 0]), 0.1)
    losses = torch.tensor([LN2, LN2 + 1.0], requires_grad=True)
    weighted = robust(losses, torch.tensor([0, 2]))
    np.testing.assert_allclose(weighted.detach(), [0.5 * 4 / 3 * LN2, 0.5 * 4 * (LN2 + 1)], rtol=1e-6)
    np.testing.assert_allclose(robust.get_buffer("log_weights"), [0.0, 0.4], atol=1e-6)
    np.testing.assert_allclose(robust.weights(), [1 / (1 + np.exp(0.4)), 1 / (1 + np.exp(-0.4))], rtol=1e-6)
    weighted.sum().backward()
    np.testing.assert_allclose(losses.grad, [2 / 3, 2.0], rtol=1e-6)  # the weights are constants of a step


def test_an_even_draw_is_the_weighted_sum_of_group_means():
    """All examples at step 0: mean of weighted losses = sum_g 1/2 mean_g."""
    group = np.array([0, 0, 1, 0])
    losses = torch.tensor([1.0, 2.0, 5.0, 3.0])
    got = GroupWeights(group, 0.0)(losses, torch.arange(4)).mean()
    assert float(got) == pytest.approx(0.5 * 2.0 + 0.5 * 5.0)


def test_the_state_is_in_checkpoints():
    assert list(GroupWeights(np.array([0, 1]), 0.1).state_dict()) == ["log_weights"]


@pytest.mark.parametrize("groups", [{"kind": "known"}, {"kind": "found"}], ids=lambda g: g["kind"])
def test_the_small_group_is_heard(groups: dict[str, str], tmp_path: Path):
    training = {"steps": 60, "batch_size": 64, "lr": 5e-3}
    method = {"name": "group_dpo", "groups": groups, "step": 0.2, "training": training}
    run = pareto.sweep(study(method), out=tmp_path / "run", workers=0)
    weights = run[0].facts["group_weights"]
    assert weights != [0.5, 0.5]
    assert sum(weights) == pytest.approx(1.0)
    gains = [f["gain"] for f in run[0].facts["groups"].values()]
    assert min(gains) > 0.3 * max(gains) > 0


def test_without_groups_it_says_what_is_missing(tmp_path: Path):
    config = study({"name": "group_dpo"})
    config["task"] |= {"groups": 0, "users": 0, "reference": QUICK}
    with pytest.raises(UsageError, match="preferred overall"):
        pareto.sweep(config, out=tmp_path / "run", workers=0)


def test_the_plan():
    lab = Lab(**SMALL, groups=2, users=20)
    assert [c.role for c in GroupDPO().plan(lab, [], [0, 1])] == ["prerequisite", "policy", "policy"]
    found = GroupDPO(groups={"kind": "found"}).plan(lab, [], [0])
    assert [c.role for c in found] == ["prerequisite", "prerequisite", "policy"]
