"""C-MORL through the whole study: true counts, a kill in between, and points that weighted sums cannot reach."""

import contextlib

import numpy as np
import pytest

from pareto.agents import state_values
from pareto.agents.cmorl import CMORL
from pareto.agents.search import Search
from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study

SMALL = {"envs": 2, "steps": 16, "epochs": 1, "minibatch": 16, "hidden": [8]}


def study(extension, **method):
    return load_study(
        {
            "study": "tiny",
            "task": {
                "kind": "env",
                "id": "deep-sea-treasure-v0",
                "selection_episodes": 1,
                "heldout_episodes": 2,
            },
            "method": {
                "name": "cmorl",
                "total_steps": 1500,
                "initial_steps": 400,
                "max_episode_steps": 10,
                "round_iterations": 5,
                "checkpoint_every": 1,
                "episodes": 4,
                "verified": 4,
                "finalists": 4,
                "window": 8,
                "ppo": SMALL,
                "round_ppo": SMALL,
                "extension": extension,
                **method,
            },
            "weights": {"kind": "das_dennis", "divisions": 1},
            "score": {"ref_point": {"treasure": -1.0, "time": -101.0}},
        }
    )


BARRIER = {"kind": "barrier", "select": {"kind": "crowding", "n": 1}}
KINDS = [
    BARRIER,
    {"kind": "lagrangian", "select": {"kind": "gain", "n": 2, "reach": 0.3}},
    {"kind": "trust_region", "climbs": ["treasure"], "select": {"kind": "crowding", "n": 1}},
    {"kind": "budget", "objective": "time", "climbs": "treasure"},
]


COURSES = [
    {"steps": 100, "weights": {"treasure": 0.9, "time": 0.1}, "ppo": SMALL},
    {"steps": 200, "climbs": "box", "n": 2, "softness": 2.0, "ppo": SMALL},
]
COMPOSED = {"constants": True, "courses": COURSES, "composed": 3, "begun_episodes": 2, "total_steps": 3500}


@pytest.mark.parametrize(
    ("extension", "more"),
    [*((kind, {}) for kind in KINDS), (BARRIER, COMPOSED)],
    ids=lambda x: x.get("kind", "courses" if x else "alone"),
)
@pytest.mark.parametrize("offer", ["training", "episodes"])
def test_a_killed_search_goes_on_where_it_was(extension, more, offer, tmp_path, monkeypatch):
    more = {"offer": offer, "actions": "sample", "final_episodes": 4, "z": 0.0, "total_steps": 2500, **more}
    monkeypatch.setattr(state_values, "STEPS", 20)
    config = study(extension, **more)
    run_study(config, tmp_path / "whole", workers=0)
    real, count = Search.step, 0

    def dying(self):
        nonlocal count
        count += 1
        if count in (4, 10):
            raise KeyboardInterrupt
        real(self)

    for _ in range(2):
        with contextlib.suppress(BaseException), monkeypatch.context() as patched:
            patched.setattr(Search, "step", dying)
            run_study(config, tmp_path / "broken", workers=0)
    run_study(config, tmp_path / "broken", workers=0)
    whole, broken = (load(tmp_path / name) for name in ("whole", "broken"))
    assert broken.content["provenance"]["content_sha256"] == whole.content["provenance"]["content_sha256"]


@pytest.mark.parametrize("offer", ["training", "episodes"])
def test_every_step_of_the_environment_is_in_the_ledger(offer, tmp_path, monkeypatch):
    from pareto.tasks.env.copies import Batched

    taken, real = [], Batched.end_step
    monkeypatch.setattr(Batched, "end_step", lambda self: (taken.append(self.copies), real(self))[1])
    config = study(BARRIER, offer=offer, actions="sample", z=0.0)
    cell = config.method.plan(
        config.task, [{"treasure": 1.0, "time": 0.0}, {"treasure": 0.0, "time": 1.0}], (0,)
    )[0]
    from pareto.cells import FitContext

    (tmp_path / "a").mkdir()
    fitted = config.method.train(cell, config.task, FitContext(tmp_path / "a", tmp_path / "b"))
    assert fitted.cost.env_steps + fitted.cost.selection_env_steps == sum(taken)
    assert fitted.cost.env_steps % (2 * 16) == 0
    assert sum(taken) <= 1500


def test_the_same_seed_gives_the_same_policies(tmp_path):
    shas = []
    for name in "ab":
        run_study(study(BARRIER), tmp_path / name, workers=0)
        shas.append(load(tmp_path / name).content["provenance"]["content_sha256"])
    assert shas[0] == shas[1]


def test_a_first_stage_that_the_budget_has_no_room_for_is_cut(tmp_path):
    """1,000 steps asked of a budget of 500: three fifths are 300, in which four iterations of 2 x 32 steps fit."""
    from pareto.cells import FitContext

    config = study(None, total_steps=500, initial_steps=1000)
    ends = [{"treasure": 1.0, "time": 0.0}, {"treasure": 0.0, "time": 1.0}]
    cell = config.method.plan(config.task, ends, (0,))[0]
    (tmp_path / "a").mkdir()
    fitted = config.method.train(cell, config.task, FitContext(tmp_path / "a", tmp_path / "b"))
    assert fitted.cost.env_steps == 4 * 2 * 32


def test_policies_that_always_do_the_same_come_first():
    """Always down is a treasure of .7 after one step; any other direction runs against the wall for all of 10 steps."""
    from pareto.agents.learning import Networked

    config = study(BARRIER, constants=True, offer="episodes")
    search = Search(config.method, Networked.of(config.task, config.method.ppo), np.eye(2), 0)
    search.step()
    points = search.archive.means
    np.testing.assert_allclose(points[(points[:, 0] > 0.5)], [[0.7, -1.0]], atol=1e-6)
    assert search.ledger.selection >= 4 * (1 + 3 * 10)  # episodes of four policies
    before = len(points)
    search.step()
    assert search.ledger.selection < 3 * 4 * (1 + 3 * 10) + before * 40  # once


def test_choices_rest_on_the_reference_point_that_is_given():
    """(1, -20) alone, above (0, -50), which the environment states: 1 x 30; above (-1, -21): 2 x 1."""
    from pareto.agents.learning import Networked
    from pareto.agents.population import Snapshots

    for given, volume in ((None, 30.0), ((-1.0, -21.0), 2.0)):
        config = study(BARRIER, ref_point=given)
        search = Search(config.method, Networked.of(config.task, config.method.ppo), np.eye(2), 0)
        policies: Snapshots = search.learning.population.snapshots().rows([0])
        point = np.array([[1.0, -20.0]])
        search.archive = search.archive.offer(policies, point, point)
        assert search.hypervolume == pytest.approx(volume)


def test_a_search_whose_policies_all_miss_the_reference_point_goes_on_from_what_there_is(tmp_path):
    """No treasure is worth 1,000."""
    run_study(study(BARRIER, ref_point=(1000.0, -50.0)), tmp_path, workers=0)
    assert len(load(tmp_path)) >= 1


def test_a_reference_point_of_another_length_is_refused(tmp_path):
    from pareto.cells import FitContext
    from pareto.errors import ConfigError

    config = study(BARRIER, ref_point=(0.0, -50.0, 1.0))
    cell = config.method.plan(config.task, [{"treasure": 1.0, "time": 0.0}], (0,))[0]
    with pytest.raises(ConfigError, match="needs 2 numbers, one each for treasure, time; got 3"):
        config.method.train(cell, config.task, FitContext(tmp_path, tmp_path))


@pytest.mark.parametrize("total", [900, 1500, 2500])
def test_choosing_stays_within_the_budget_where_episodes_last_to_their_limit(total, tmp_path):
    """Untrained policies wander for all of 100 steps; 4 finalists x 40 episodes x 100 steps are more than any of these budgets."""
    from pareto.cells import FitContext

    config = study(BARRIER, max_episode_steps=100, total_steps=total, final_episodes=40, actions="sample")
    ends = [{"treasure": 1.0, "time": 0.0}, {"treasure": 0.0, "time": 1.0}]
    cell = config.method.plan(config.task, ends, (0,))[0]
    (tmp_path / "a").mkdir()
    cost = config.method.train(cell, config.task, FitContext(tmp_path / "a", tmp_path / "b")).cost
    assert 0 < cost.selection_env_steps <= total - cost.env_steps


def test_what_is_set_aside_for_choosing_follows_the_episodes_played_last():
    """4 candidates x 4 episodes and 4 finalists x 6 are 40 episodes: 400 steps at the limit of 10, 120 once they take 3."""
    from pareto.agents.learning import Networked

    config = study(BARRIER, final_episodes=6)
    method = config.method
    search = Search(method, Networked.of(config.task, method.ppo), np.eye(2), 0)
    assert search._reserve == 400
    search.ledger.select(10, 20)
    search.ledger.select(10, 30)
    assert search._reserve == 120
    assert search._affordable == (1500 - 50) // (4 * 10)


@pytest.mark.slow
def test_hard_budgets_find_points_that_no_weighted_sum_finds():
    """Concave map, the two ends known after the first stage; budgets add at least one treasure between them."""
    config = load_study(
        "configs/dst_concave_cmorl.yaml", ["method.total_steps=300000", "method.initial_steps=200000"]
    )
    weights = np.array([config.task.objectives.vector(w) for w in config.weights.list])
    from pareto.agents.learning import Networked

    method = config.method
    assert isinstance(method, CMORL)
    search = Search(method, Networked.of(config.task, method.ppo), weights, 0)
    while search.rounds == 0:
        search.step()
    assert search.hypervolume == pytest.approx(
        3391.57, abs=0.01
    )  # what weighted sums reach, from the exact front
    while not search.finished:
        search.step()
    assert search.hypervolume > 3400
    assert search.hypervolume < 3688.378  # the exact front's
