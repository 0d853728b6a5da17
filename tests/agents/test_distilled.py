"""One network in place of an archive: which policy it follows by hand, and a fork whose front it keeps."""

import numpy as np
import pytest

from pareto.agents.distilling import Teachers
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study
from tests.agents.fork import register_envs

register_envs()


def test_the_best_teacher_by_hand():
    """w.G of (1, 0), (0.6, 0.6), (0, 1): at w0 = 0.7 0.7, 0.6, 0.3; at 0.5 0.5, 0.6, 0.5; at 0.2 0.2, 0.6, 0.8."""
    teachers = Teachers([None] * 3, np.array([[1, 0], [0.6, 0.6], [0, 1]]), [], 0)
    assert teachers.best(np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]])).tolist() == [0, 1, 2]


def test_the_front_of_a_fork_is_kept(tmp_path):
    study = {
        "study": "fork",
        "task": {
            "kind": "env",
            "id": "Fork-v0",
            "gamma": 1.0,
            "selection_episodes": 1,
            "heldout_episodes": 1,
        },
        "method": {
            "name": "distilled",
            "teacher": {
                "name": "ppo_scalarized",
                "total_steps": 9000,
                "ppo": {"envs": 8, "steps": 16, "minibatch": 64, "lr": 5e-3, "hidden": [8]},
            },
            "hidden": [16],
            "episodes": 64,
            "rounds": 1,
            "epochs": 12,
            "batch": 32,
            "lr": 1e-2,
            "ref_point": [-0.1, -0.1],
        },
        "weights": {"kind": "das_dennis", "divisions": 2},
        "score": {"ref_point": {"objective_1": -0.1, "objective_2": -0.1}},
    }
    run_study(load_study(study), tmp_path / "run", workers=0)
    run = load(tmp_path / "run")
    best = {1.0: [1, 0], 0.5: [0.6, 0.6], 0.0: [0, 1]}
    for weights, values in zip(run.weights, run.values):
        np.testing.assert_allclose(values, best[weights[0]], atol=1e-6)
    told = run[0].facts["distilled"]
    # of (1, 0), (0.6, 0.6), (0, 1) from (-0.1, -0.1): 1.1 x 0.1 + 0.7 x 0.6 + 0.1 x 0.4 = 0.57
    assert told["archive_hypervolume"] == pytest.approx(0.57)
    assert told["lost"] == pytest.approx(0.0, abs=1e-9)
    assert told["parameters_bytes"] == 4 * ((1 + 2) * 16 + 16 + 16 * 3 + 3)
    steered = run.steer([0.55, 0.45], method="conditioned")
    assert steered.act(np.ones(1, dtype=np.float32)) == 2
