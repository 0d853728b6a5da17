"""An environment as a task: whole episodes, seeds apart, honest counts."""

import json

import numpy as np
import pytest

from pareto import rng
from pareto.errors import ArtifactError, ConfigError
from pareto.models.actors import agent_facts, load_actor
from pareto.models.actors.mlp import MLPActor
from pareto.tasks.env import EnvTask
from pareto.tasks.env.episodes import play
from pareto.tasks.env.opening import open_envs
from tests.tasks.env.stubs import register_envs


def stored(folder, action):
    """A perceptron of deep-sea treasure that always takes one action."""
    bias = np.zeros(4)
    bias[action] = 5.0
    told = EnvTask(id="deep-sea-treasure-v0").facts
    actor = MLPActor([(np.zeros((2, 4)), bias)], np.zeros(2), np.ones(2), "mode")
    actor.save(folder, agent_facts("mlp", told.observations, told.actions))
    return folder


def test_returns_are_discounted_sums_over_one_episode(tmp_path):
    """Down from the start is the nearest treasure: one step, worth 0.7. Right for ever: cut off after 100 steps."""
    task = EnvTask(id="deep-sea-treasure-v0", selection_episodes=2, heldout_episodes=3)
    down = task.score(stored(tmp_path / "down", 1), "agent", None, "heldout", {})
    np.testing.assert_allclose(down.values, [[0.7, -1.0]] * 3, atol=1e-6)
    assert (down.cost.scoring_env_steps, down.cost.selection_env_steps) == (3, 0)
    right = task.score(stored(tmp_path / "right", 3), "agent", None, "selection", {})
    np.testing.assert_allclose(right.values, [[0.0, -(1 - 0.99**100) / 0.01]] * 2)
    assert (right.cost.scoring_env_steps, right.cost.selection_env_steps) == (0, 200)
    assert right.unit_ids.tolist() == ["selection-0", "selection-1"]


def test_copies_that_are_over_count_no_more():
    """Copy 0 goes down: over after one step, again and again. Copy 1 goes right: three times to the limit of 4 steps."""
    task = EnvTask(id="deep-sea-treasure-v0", max_episode_steps=4)
    with task.open(2) as envs:
        played = play(envs, lambda seen: np.array([1, 3]), [1, 2], 0.5, in_a_row=3)
    assert played.lengths.tolist() == [1, 1, 1, 4, 4, 4]
    assert played.steps == 2 * 12
    time = [-1.0] * 3 + [-(1 + 0.5 + 0.25 + 0.125)] * 3
    np.testing.assert_allclose(played.returns, np.stack([[0.7] * 3 + [0.0] * 3, time], axis=1), atol=1e-6)


def test_copies_that_are_over_rest_where_they_can():
    """A copy that goes forward arrives after 3 steps, one that stays is cut off after 5: two episodes each cost 6 + 10 steps."""
    register_envs()
    told = []
    with open_envs("Corridor-v0", 2) as envs:
        played = play(
            envs,
            lambda seen: np.array([1, 0]),
            [1, 2],
            1.0,
            in_a_row=2,
            watch=lambda taken, given, playing, over: told.append((playing.tolist(), over.tolist())),
        )
        assert envs.step(np.array([1, 1])).rewards[0, 0] == 0  # the first rests still
        envs.reset([1, 2])
        assert envs.step(np.array([1, 1])).rewards[0, 0] == 1
    assert played.lengths.tolist() == [3, 3, 5, 5]
    assert played.steps == 6 + 10
    assert [over for _, over in told][:6:5] == [[False, False], [True, False]]
    assert told[6][0] == [False, True]


def test_splits_and_training_use_different_seeds():
    task = EnvTask(id="minecart-v0")
    chosen, reported = (set(task.episode_seeds(s)) for s in ("selection", "heldout"))
    assert (len(chosen), len(reported)) == (20, 100)
    assert not chosen & reported
    assert rng.derive_seed("training", "x", 0) not in chosen | reported


def test_the_exact_front_is_the_environments_own():
    task = EnvTask(id="deep-sea-treasure-concave-v0")
    exact = task.exact([], np.array([0.0, -50.0]), {})
    assert exact is not None
    assert len(exact["front"]) == 10
    assert exact["hypervolume"] == pytest.approx(3688.377, abs=1e-3)  # published for gamma .99
    assert EnvTask(id="minecart-v0").exact([], np.array([-1.0, -1, -200]), {}) is None


def test_samples_are_trajectories(tmp_path):
    task = EnvTask(id="deep-sea-treasure-v0", names=("gold", "clock"))
    (row,) = task.samples(stored(tmp_path, 1), "agent", {}, 1)
    assert row["actions"] == [1]
    assert row["returns"] == {"gold": pytest.approx(0.7), "clock": -1.0}
    json.dumps(row)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"id": "minecrat-v0"}, "unknown environment 'minecrat-v0' .did you mean 'pareto.Minecart-v0'"),
        ({"id": "minecart-v0", "names": ("a", "b")}, "2 objectives were named"),
    ],
)
def test_mistakes_are_named(settings, says):
    with pytest.raises(ValueError, match=says):
        EnvTask(**settings)


def test_what_is_no_agent_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected the policy of an agent"):
        load_actor(tmp_path)
    (tmp_path / "policy.json").write_text('{"kind": "adapter"}')
    with pytest.raises(ArtifactError, match="must say kind 'agent'"):
        load_actor(tmp_path)
    with pytest.raises(ConfigError, match="has no prerequisites"):
        EnvTask(id="minecart-v0").build("reference", None, None)
