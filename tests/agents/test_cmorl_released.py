"""The released C-MORL code's schedule, step for step, and a small run that survives a kill."""

import contextlib

import numpy as np
import pytest
import torch

from pareto.agents.cmorl_released import ReleasedCMORL
from pareto.agents.learning import Networked
from pareto.agents.released_search import ReleasedSearch
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study
from pareto.tasks.env import EnvTask
from tests.agents.fork import register_envs

register_envs()
SMALL = {
    "name": "cmorl_released", "total_steps": 1000, "initial_steps": 576, "evaluate_every": 2, "episodes": 2, "n": 2,
    "update_iter": 2, "max_episode_steps": 2, "checkpoint_every": 5,
    "ppo": {"envs": 4, "steps": 8, "minibatch": 16, "lr": 5e-3, "lr_end": 0, "hidden": [8]},
}  # fmt: skip

STUDY = {
    "study": "tiny",
    "task": {"kind": "env", "id": "Fork-v0", "gamma": 1.0, "selection_episodes": 1, "heldout_episodes": 1},
    "method": SMALL,
    "weights": {"kind": "das_dennis", "divisions": 2},
    "score": {"ref_point": {"objective_1": -0.1, "objective_2": -0.1}},
}


def test_the_schedule():
    """3 policies x 4 copies x 8 steps are 96 an update: 6 updates of the first stage, evaluated after 2, 4 and 6 (3
    policies x 2 episodes x 1 step each). Then, per selected policy, 2 objectives: 32 steps each an update, and 2 more for
    the evaluation of every one.
    """
    method = load_study(STUDY).method
    assert isinstance(method, ReleasedCMORL)
    task = EnvTask(id="Fork-v0", gamma=1.0)
    search = ReleasedSearch(method, Networked.of(task, method.ppo), np.eye(2)[[0, 1, 0]] * 0.5 + 0.25, 0)
    told, wanted = [], 0
    while not search.finished:
        if search.rounds:
            wanted += 34 * len(search.learning.population)
        search.step()
        told.append((search.rounds, search.training, search.selection))
    assert [t[1] for t in told][:6] == [96, 192, 288, 384, 480, 576]
    assert [t[2] for t in told][:6] == [0, 6, 6, 12, 12, 18]
    assert told[5][0] == 1
    assert search.learning.config.lr == pytest.approx(5e-3 / 6)
    assert search.steps == 576 + 18 + wanted <= 1000
    assert search.climbed == [0, 1] * (len(search.climbed) // 2)


def test_the_barrier_of_the_released_code_does_not_steer():
    """Expected gradient of log(ratio G - beta G) / t at ratio 1, over the policy's own actions, is exactly zero."""
    logits = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    logps = torch.log_softmax(logits, dim=0)
    old = logps.detach()
    ratio = (logps - old).exp()
    mean_return, beta, t = 7.0, 0.9, 20.0
    expected = (old.exp() * torch.log(ratio * mean_return - beta * mean_return) / t).sum()
    (gradient,) = torch.autograd.grad(expected, logits)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-7)


def test_a_killed_job_goes_on_where_it_was(tmp_path, monkeypatch):
    study = load_study(STUDY)
    run_study(study, tmp_path / "whole", workers=0)
    run = load(tmp_path / "whole")
    assert run.content["cost"]["env_steps"] >= 576
    from pareto.agents.learning import Learning

    real, count = Learning.step, 0

    def dying(self, total):
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt
        real(self, total)

    monkeypatch.setattr(Learning, "step", dying)
    with contextlib.suppress(BaseException):
        run_study(study, tmp_path / "broken", workers=0)
    assert count == 7
    run_study(study, tmp_path / "broken", workers=0)
    shas = [load(tmp_path / n).content["provenance"]["content_sha256"] for n in ("whole", "broken")]
    assert shas[0] == shas[1]
