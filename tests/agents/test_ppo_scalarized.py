"""Scalarised PPO through the whole study: sweep, scores, steering, and a kill in between."""

import contextlib

import numpy as np

from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study

STUDY = {
    "study": "tiny",
    "task": {"kind": "env", "id": "deep-sea-treasure-v0", "selection_episodes": 1, "heldout_episodes": 2},
    "method": {
        "name": "ppo_scalarized",
        "total_steps": 600,
        "checkpoint_every": 1,
        "ppo": {"envs": 2, "steps": 16, "epochs": 1, "minibatch": 16, "hidden": [8]},
    },
    "weights": {"kind": "das_dennis", "divisions": 2},
    "score": {"ref_point": {"treasure": -1.0, "time": -101.0}},
}


def test_a_sweep_gives_policies_that_act(tmp_path):
    run_study(load_study(STUDY), tmp_path / "run", workers=0)
    run = load(tmp_path / "run")
    assert run.weights.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    assert run.content["cost"]["env_steps"] == 576  # 6 iterations of 3 policies, 2 copies, 16 steps: 96 each
    policy = run.steer({"treasure": 0.9, "time": 0.1})
    assert policy.act(np.array([0, 0], dtype=np.int32)) in range(4)
    assert run.exact is not None


def test_a_killed_job_goes_on_where_it_was(tmp_path, monkeypatch):
    study = load_study(STUDY)
    run_study(study, tmp_path / "whole", workers=0)
    from pareto.agents.learning import Learning

    real, count = Learning.step, 0

    def dying(self, total):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        real(self, total)

    monkeypatch.setattr(Learning, "step", dying)
    with contextlib.suppress(BaseException):
        run_study(study, tmp_path / "broken", workers=0)
    run_study(study, tmp_path / "broken", workers=0)
    assert count == 7  # three iterations, one killed, and the three that were left
    shas = [load(tmp_path / name).content["provenance"]["content_sha256"] for name in ("whole", "broken")]
    assert shas[0] == shas[1]
