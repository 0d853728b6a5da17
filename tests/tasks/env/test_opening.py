"""Any environment as copies: what a step tells, how episodes end, seeds, workers and the messages."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from pareto.errors import ConfigError, MissingPackageError, NumericsError, ParetoError, ShapeError
from pareto.objectives import Objectives
from pareto.tasks.env import sources
from pareto.tasks.env.opening import open_envs
from tests.tasks.env.stubs import Broken, Corridor, Moody, Named, register_envs

register_envs()
GO, STAY = np.array([1, 1]), np.array([0, 0])


def vector_corridors():
    """Corridors in processes of gymnasium's own, which stacks vector rewards as they are."""
    return AsyncVectorEnv([Corridor, Corridor], autoreset_mode=AutoresetMode.SAME_STEP)


@pytest.mark.parametrize(
    "open_two",
    [
        lambda: open_envs(Corridor, 2),
        lambda: open_envs("tests.tasks.env.stubs:Corridor-v0", 2),
        lambda: open_envs(vector_corridors, 2),
        lambda: open_envs(Corridor, 2, workers=2),
        lambda: open_envs(lambda: Corridor(length=3), 2, workers=1),
    ],
    ids=["factory", "id", "vector", "two processes", "one process"],
)
def test_an_episode_ends_and_the_next_begins_in_the_same_step(open_two):
    with open_two() as envs:
        assert (envs.copies, envs.observations.shape, envs.actions.size) == (2, (2,), 2)
        first = envs.reset([7, 8])
        # the lucky numbers of seeds 7 and 8, then of their streams running on
        luck = [[int(r.integers(1000)) for _ in range(2)] for r in map(np.random.default_rng, (7, 8))]
        np.testing.assert_array_equal(first, [[0, luck[0][0]], [0, luck[1][0]]])
        step = envs.step(np.array([1, 0]))
        np.testing.assert_array_equal(step.rewards, [[1, -1], [0, -1]])
        assert step.observations.dtype == np.float32
        assert step.rewards.dtype == np.float64
        envs.step(GO)
        step = envs.step(GO)  # positions 3 (arrived) and 2
        np.testing.assert_array_equal(step.terminated, [True, False])
        assert not step.truncated.any()
        np.testing.assert_array_equal(step.observations, [[0, luck[0][1]], [2, luck[1][0]]])
        np.testing.assert_array_equal(step.final_observations, [[3, luck[0][0]], [2, luck[1][0]]])


def test_a_time_limit_cuts_off_and_says_so():
    with open_envs("Corridor-v0", 1) as envs:
        envs.reset([0])
        steps = [envs.step(np.array([0])) for _ in range(5)]  # registered with 5 steps at most
    assert [bool(s.truncated[0]) for s in steps] == [False] * 4 + [True]
    assert not any(s.terminated[0] for s in steps)


def test_nothing_is_seeded_again():
    made = []

    def factory():
        made.append(Corridor(length=1))
        return made[-1]

    envs = open_envs(factory, 2)
    envs.reset([3, 4])
    for _ in range(3):
        envs.step(GO)
    envs.restart(np.array([True, False]))
    assert [env.seeds for env in made] == [[3, None, None, None, None], [4, None, None, None]]


@pytest.mark.parametrize("workers", [0, 2])
def test_restart_begins_only_the_masked_episodes(workers):
    with open_envs(Corridor, 3, workers=workers) as envs:
        envs.reset([1, 2, 3])
        before = envs.step(np.array([1, 1, 1])).observations
        after = envs.restart(np.array([False, True, False]))
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert after[1, 0] == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_what_rests_is_left_where_it_is(workers):
    with open_envs(Corridor, 3, workers=workers) as envs:
        envs.reset([1, 2, 3])
        before = envs.step(np.array([1, 1, 1]))
        resting = envs.rest(np.array([False, True, False]))
        during = envs.step(np.array([1, 1, 1]))
        envs.rest(np.zeros(3, dtype=bool))
        after = envs.step(np.array([1, 1, 1]))
    assert resting.tolist() == [False, True, False]
    assert before.observations[:, 0].tolist() == [1, 1, 1]
    assert during.observations[:, 0].tolist() == [2, 1, 2]
    assert during.rewards[:, 0].tolist() == [1, 0, 1]  # a step forward each, but for the one that rests
    assert after.final_observations[:, 0].tolist() == [3, 2, 3]


def test_arrays_do_not_rest():
    with open_envs("pareto/DeepSeaTreasure-v0", 2) as envs:
        assert not envs.rest(np.array([True, False])).any()


def test_vector_environments_stand_side_by_side():
    with open_envs(vector_corridors, 4) as envs:
        assert envs.copies == 4
        envs.reset([0, 1, 2, 3])
        np.testing.assert_array_equal(envs.step(np.array([1, 0, 0, 1])).rewards[:, 0], [1, 0, 0, 1])
    with pytest.raises(ConfigError, match=r"3 copies are needed .* vector environments of 2"):
        open_envs(vector_corridors, 3)


def test_our_own_ids_run_as_arrays_and_can_be_stored():
    with open_envs("pareto/DeepSeaTreasure-v0", 3) as envs:
        assert envs.objectives.names == gym.make("pareto/DeepSeaTreasure-v0").unwrapped.objectives.names
        envs.reset([5, 6, 7])
        envs.step(np.array([1, 1, 3]))
        saved = envs.state_dict()
        assert saved is not None
        onward = [envs.step(np.array([3, 1, 1])) for _ in range(3)]
        envs.load_state_dict(saved)
        again = [envs.step(np.array([3, 1, 1])) for _ in range(3)]
    for one, other in zip(onward, again):
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)


def test_batched_copies_equal_plain_ones_seed_for_seed():
    """Our id as arrays, and the same id stepped copy by copy, as an independent way to the same numbers."""
    rng = np.random.default_rng(0)
    actions = rng.integers(6, size=(60, 3))
    with (
        open_envs("pareto/Minecart-v0", 3, options={"max_episode_steps": 25}) as arrays,
        open_envs(lambda: gym.make("pareto/Minecart-v0", max_episode_steps=25), 3) as plain,
    ):
        np.testing.assert_array_equal(arrays.reset([11, 5, 900]), plain.reset([11, 5, 900]))
        for a in actions:
            for one, other in zip(arrays.step(a), plain.step(a)):
                np.testing.assert_array_equal(one, other)


def test_rewards_and_observations_as_mappings():
    with open_envs(Named, 1, objectives=["moved", "cost:min"]) as envs:
        seen = envs.reset([0])
        assert envs.observations.shape == (7,)
        step = envs.step(np.array([1]))
    # in the order of its space: place 1 of 4, the eye's 0 and 51 of 255, the lucky number of seed 0
    np.testing.assert_allclose(step.observations, [[0, 1, 0, 0, 0, 51 / 255, seen[0, 6]]], rtol=1e-6)
    assert seen[0, 6] == np.random.default_rng(0).integers(1000)
    np.testing.assert_array_equal(step.rewards, [[1.0, -1.0]])  # a cost of 1, turned
    with open_envs(Named, 1) as envs:
        assert envs.objectives == Objectives(["moved", "cost"])  # asked for one step


def test_messages_about_rewards():
    with pytest.raises(ShapeError, match=r"CartPoleEnv|CartPole-v1.*got a scalar reward; return np.array"):
        open_envs("CartPole-v1", 1)
    with open_envs(Moody, 1) as envs:
        envs.reset([0])
        envs.step(np.array([1]))
        with pytest.raises(ShapeError, match="a vector of 2 numbers in every step; got a scalar"):
            envs.step(np.array([1]))
    with pytest.raises(
        ConfigError, match=r"3 objectives were named \(a, b, c\); the environment's rewards have 2"
    ):
        open_envs(Corridor, 1, objectives=["a", "b", "c"])
    with open_envs(lambda: Corridor(scale=np.nan), 2) as envs:
        envs.reset([0, 1])
        with pytest.raises(NumericsError, match="the reward of copy 0 must be finite"):
            envs.step(GO)
    with pytest.raises(ConfigError, match=r"same_step|SAME_STEP"):
        open_envs(lambda: AsyncVectorEnv([Corridor, Corridor]), 2)
    one = Corridor()
    with pytest.raises(ConfigError, match="must make a new environment in every call"):
        open_envs(lambda: one, 2)


def test_an_error_in_a_worker_comes_back_with_its_trace():
    with open_envs(Broken, 2, workers=1) as envs:
        envs.reset([0, 1])
        envs.step(GO)
        with pytest.raises(ParetoError, match=r"(?s)Traceback.*out of paint"):
            envs.step(GO)
    with pytest.raises(ConfigError, match="unknown environment 'Nowhere-v0'"):
        open_envs("Nowhere-v0", 2, workers=1)


def test_messages_about_what_is_missing(monkeypatch):
    with pytest.raises(ConfigError, match=r"did you mean 'pareto/Minecart-v0'"):
        open_envs("pareto/Minecrat-v0", 1)
    with pytest.raises(ConfigError, match="module 'no_such_module' does not import"):
        open_envs("no_such_module:Env-v0", 1)
    with pytest.raises(ConfigError, match="'pareto/Minecart-v0' could not be made"):
        open_envs("pareto/Minecart-v0", 1, options={"wheels": 3})
    with pytest.raises(ConfigError, match="'pareto/Offloading-v0' could not be made: AttributeError"):
        open_envs("pareto/Offloading-v0", 1, options={"config": 3})
    found = sources.importlib.util.find_spec
    monkeypatch.setattr(
        sources.importlib.util, "find_spec", lambda name: None if name == "mo_gymnasium" else found(name)
    )
    for env_id in [i for i in gym.registry if i in ("minecart-v0", "mo-hopper-v5")]:
        monkeypatch.delitem(gym.registry, env_id)
    with pytest.raises(
        MissingPackageError, match=r"pareto/Minecart-v0, which comes along.*pip install .*mo-gymnasium"
    ):
        open_envs("minecart-v0", 1)
    with pytest.raises(MissingPackageError, match=r"pip install 'pareto-align\[mo-gymnasium\]'"):
        open_envs("mo-hopper-v5", 1)


def test_the_library_with_its_names():
    pytest.importorskip("mo_gymnasium", reason="opens MO-Gymnasium's own environments")
    with open_envs("minecart-v0", 2) as envs:
        assert envs.objectives.names == ("ore1", "ore2", "fuel")
        assert envs.reset([0, 1]).shape == (2, 7)
        assert envs.step(GO).rewards.shape == (2, 3)


def test_a_picture_of_the_first_copy():
    with open_envs("pareto/DeepSeaTreasure-v0", 1, render=True) as envs:
        envs.reset([0])
        frame = envs.picture()
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
