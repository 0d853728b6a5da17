"""PGMORL: its curve, its buffer and its choices by hand, and a small run that survives a kill."""

import contextlib

import numpy as np
import pytest

from pareto.agents.archive import Archive
from pareto.agents.generations import Pool
from pareto.agents.prediction import Moves, curve, fit_curve, predict
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study
from tests.agents.fork import register_envs

register_envs()


def test_a_curve_is_found_again():
    """Gains made by a known curve: A 2, a 3, b 0.4, c 0.1; at w = b it is c, far from b it is c +- A."""
    weight = np.linspace(0, 1, 9)
    true = curve(weight, 2.0, 3.0, 0.4, 0.1)
    assert curve(np.array([0.4]), 2.0, 3.0, 0.4, 0.1)[0] == pytest.approx(0.1)
    assert curve(np.array([50.0]), 2.0, 3.0, 0.4, 0.1)[0] == pytest.approx(2.1)
    # (exp(x) - 1) / (exp(x) + 1) at x = 3 (1 - 0.4) = 1.8, by hand
    assert true[-1] == pytest.approx(2 * (np.exp(1.8) - 1) / (np.exp(1.8) + 1) + 0.1)
    fitted = fit_curve(weight, true, np.ones(9), f_scale=20.0)
    np.testing.assert_allclose(curve(weight, *fitted), true, atol=1e-3)


def test_only_moves_from_nearby_count():
    """Moves from (0, 0) gain w in each return; those from (10, 10) lose 5. The prediction at the origin knows the first."""
    w = np.linspace(0, 1, 6)
    weights = np.column_stack([w, 1 - w])
    near, far = np.zeros((6, 2)), np.full((6, 2), 10.0)
    moves = Moves(np.vstack([weights] * 2), np.vstack([near, far]), np.vstack([near + weights, far - 5]))
    spans = np.array([10.0, 10.0])
    rows, importance = moves.near(np.zeros(2), spans)
    assert rows.tolist() == list(range(6))
    np.testing.assert_array_equal(importance, 1)
    # in spans the gains are at most 0.1, where the curve with A in [0, 1] is as good as straight
    hoped = predict(moves, np.zeros(2), np.array([[0.8, 0.2]]), spans, f_scale=20.0)
    np.testing.assert_allclose(hoped, [[0.8, 0.2]], atol=0.05)


def test_the_buffer_keeps_the_farthest_of_each_direction():
    class Rows(list):
        def rows(self, which):
            return Rows([self[i] for i in which])

    points = np.array([[1.0, 0.0], [2.0, 0.1], [3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    held = Archive(Rows("abcde"), points, points, 10)
    directions = np.array([[1.0, 0.0], [0.0, 1.0], [np.sqrt(0.5), np.sqrt(0.5)]])
    pool = Pool(held, np.zeros((5, 2))).spread(np.zeros(2), directions, depth=2)
    assert list(pool.held.policies) == list("bcde")  # a is the third along the first direction


STUDY = {
    "study": "tiny",
    "task": {"kind": "env", "id": "Fork-v0", "gamma": 1.0, "selection_episodes": 1, "heldout_episodes": 1},
    "method": {
        "name": "pgmorl", "total_steps": 8_000, "warmup": 8, "generation": 4, "delta": 0.25, "nearest": 3,
        "max_episode_steps": 2, "episodes": 2, "verified": 24, "policies": 6, "window": 32, "checkpoint_every": 7,
        "ppo": {"envs": 8, "steps": 8, "minibatch": 64, "lr": 5e-3, "lr_end": 1, "hidden": [8]},
    },
    "weights": {"kind": "das_dennis", "divisions": 2},
    "score": {"ref_point": {"objective_1": -0.1, "objective_2": -0.1}},
}  # fmt: skip


def test_a_run_finds_the_front_and_goes_on_after_a_kill(tmp_path, monkeypatch):
    run_study(load_study(STUDY), tmp_path / "whole", workers=0)
    run = load(tmp_path / "whole")
    assert {tuple(v) for v in run.values.round(6)} == {(1.0, 0.0), (0.0, 1.0), (0.6, 0.6)}
    cost = run.content["cost"]
    assert cost["env_steps"] % (3 * 8 * 8) == 0
    assert (
        cost["env_steps"] + cost["selection_env_steps"] <= 8_000 + 6
    )  # one selection episode of each scored policy
    from pareto.agents.learning import Learning

    real, count = Learning.step, 0

    def dying(self, total):
        nonlocal count
        count += 1
        if count == 30:
            raise KeyboardInterrupt
        real(self, total)

    monkeypatch.setattr(Learning, "step", dying)
    with contextlib.suppress(BaseException):
        run_study(load_study(STUDY), tmp_path / "broken", workers=0)
    assert count == 30
    run_study(load_study(STUDY), tmp_path / "broken", workers=0)
    shas = [load(tmp_path / n).content["provenance"]["content_sha256"] for n in ("whole", "broken")]
    assert shas[0] == shas[1]
