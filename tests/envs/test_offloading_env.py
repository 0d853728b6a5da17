"""The two faces: registration, seeds, equality of plain and batched, contexts, errors."""

import copy
import re
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils import RecordConstructorArgs
from gymnasium.utils.env_checker import check_env

from envs.offloading import (
    SYSTEMS,
    Offloading,
    OffloadingConfig,
    OffloadingDynamics,
    OffloadingVector,
    feature,
    present,
)
from envs.streams import Streams
from pareto.errors import ConfigError, ParetoError

PADDED = {"system": {"kind": "range", "edges": [1, 4], "max_edges": 6}}


class Linear(gym.RewardWrapper, RecordConstructorArgs):
    def __init__(self, env):
        RecordConstructorArgs.__init__(self)
        gym.RewardWrapper.__init__(self, env)

    def reward(self, reward):
        return float(np.dot(reward, [0.5, 0.5]))


def complaints(env):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=True)
    return [str(w.message) for w in caught]


def test_gymnasium_complains_of_the_vector_reward_only():
    env = gym.make("pareto/Offloading-v0", disable_env_checker=True).unwrapped
    [complaint] = complaints(env)
    assert "reward" in complaint
    scalar = [c for c in complaints(Linear(env)) if "different from the unwrapped version" not in c]
    assert scalar == []


def test_registered_ids_make_both_faces():
    env = gym.make("pareto/Offloading-v0", disable_env_checker=True)
    vector = gym.make_vec("pareto/Offloading-v0", num_envs=3, vectorization_mode="vector_entry_point")
    tiny = gym.make("pareto/OffloadingTiny-v0", disable_env_checker=True)
    assert isinstance(env.unwrapped, Offloading)
    assert isinstance(vector, OffloadingVector)
    assert env.spec.max_episode_steps == 100
    assert env.observation_space.shape == (7, 69)
    assert tiny.unwrapped.dynamics.config == SYSTEMS["tiny"]
    assert tiny.spec.max_episode_steps == 6
    assert env.unwrapped.objectives.names == ("delay", "energy")
    assert env.unwrapped.reward_space.contains(env.unwrapped.reward_space.sample())


@pytest.mark.parametrize("settings", [{}, PADDED, {"config": "interference-6"}, {"config": "tiny"}])
def test_plain_equals_batched_bit_for_bit(settings):
    vector = OffloadingVector(4, max_episode_steps=15, **settings)
    plain = [gym.wrappers.TimeLimit(Offloading(**settings), 15) for _ in range(4)]
    seen, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(seen, [env.reset(seed=3 + i)[0] for i, env in enumerate(plain)])
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.integers(0, 1 << 30, 4) % present(seen).sum(axis=1)
        before = seen
        seen, rewards, terminated, truncated, info = vector.step(actions)
        for i, env in enumerate(plain):
            obs, reward, term, trunc, _ = env.step(actions[i])
            np.testing.assert_array_equal(reward, rewards[i])
            assert (term, trunc) == (terminated[i], truncated[i])
            if trunc:
                np.testing.assert_array_equal(obs, info["final_obs"][i])
                obs, _ = env.reset()
            np.testing.assert_array_equal(obs, seen[i])
            assert plain[i].observation_space.contains(before[i])
        assert not terminated.any()


def test_a_copy_does_not_depend_on_its_neighbours():
    together, alone = OffloadingVector(50, max_episode_steps=100), OffloadingVector(2, max_episode_steps=100)
    a, _ = together.reset(seed=0)
    b, _ = alone.reset(seed=[7, 31])
    rng = np.random.default_rng(1)
    for _ in range(60):
        np.testing.assert_array_equal(a[[7, 31]], b)
        actions = rng.integers(0, 7, 50)
        actions[:7] = 3  # a long queue next door
        a, ra, *_ = together.step(actions)
        b, rb, *_ = alone.step(actions[[7, 31]])
        np.testing.assert_array_equal(ra[[7, 31]], rb)


def test_saved_state_goes_on_as_if_never_interrupted():
    vector = OffloadingVector(3, max_episode_steps=20)
    vector.reset(seed=5)
    actions = np.random.default_rng(2).integers(0, 7, (30, 3))
    for a in actions[:10]:
        vector.step(a)
    saved = copy.deepcopy(vector.state_dict())
    first = [vector.step(a)[:2] for a in actions[10:]]
    other = OffloadingVector(3, max_episode_steps=20)
    other.load_state_dict(saved)
    for a, (obs, reward) in zip(actions[10:], first):
        again = other.step(a)
        np.testing.assert_array_equal(again[0], obs)
        np.testing.assert_array_equal(again[1], reward)


def test_masked_reset_restarts_only_some():
    vector = OffloadingVector(3, max_episode_steps=100)
    vector.reset(seed=5)
    for a in np.random.default_rng(2).integers(0, 7, (10, 3)):
        before, *_ = vector.step(a)
    after, _ = vector.reset(options={"reset_mask": np.array([False, True, False])})
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert feature(after, "tasks")[1].sum() == 0
    assert feature(before, "tasks")[1].sum() > 0


def test_step_leaves_the_state_it_was_given_alone():
    dynamics, streams = OffloadingDynamics(), Streams(range(5))
    state = dynamics.start(streams)
    for _ in range(5):
        kept = [a.copy() for a in state]
        following, *_ = dynamics.step(state, np.full(5, 2), streams)
        for old, now in zip(kept, state):
            np.testing.assert_array_equal(old, now)
        state = following


def test_contexts_are_drawn_from_their_ranges():
    dynamics = OffloadingDynamics(**PADDED)
    frequency = dynamics.start(Streams(range(4000))).frequency
    there = frequency > 0
    np.testing.assert_allclose(
        np.bincount(there.sum(axis=1) - 1, minlength=5) / 4000, [0, 0.25, 0.25, 0.25, 0.25], atol=0.03
    )
    assert there[:, :2].all()
    assert not there[:, 5:].any()
    cloud, edge = frequency[:, 0] / 1e9, frequency[:, 1] / 1e9
    assert 3.5 <= cloud.min() < 3.51 < 4.49 < cloud.max() <= 4.5
    assert 1.75 <= edge.min() < 1.76 < 2.24 < edge.max() <= 2.25
    assert abs(np.corrcoef(cloud, edge)[0, 1]) < 0.06


def test_absent_servers_are_masked_and_refused():
    env = Offloading(system={"kind": "fixed", "edge_hz": [2e9, 1.5e9], "max_edges": 4})
    observation, _ = env.reset(seed=0)
    assert present(observation).tolist() == [True, True, True, False, False]
    assert (observation[3:] == -1).all()
    np.testing.assert_allclose(feature(observation, "frequency")[:3], [4e9, 2e9, 1.5e9])
    with pytest.raises(gym.error.InvalidAction, match=re.escape("edge servers 1..2 and the action is 3")):
        env.step(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"system": {"kind": "fixed", "edge_hz": []}}, "at least one edge server"),
        (
            {"system": {"kind": "range", "edges": [0, 6]}},
            "edges.0: expected greater than or equal to 1; got 0",
        ),
        ({"system": {"kind": "range", "edges": [4, 2]}}, r"edges must be given as \(low, high\)"),
        ({"system": {"kind": "fixed", "edge_hz": [2e9, -2e9]}}, "edge_hz.1: expected greater than 0; got -2"),
        ({"system": {"kind": "fixed", "cloud_hz": float("nan")}}, "plain values"),
        ({"system": {"kind": "range", "edges": [1, 9], "max_edges": 8}}, "at most max_edges = 8 .* got 9"),
        ({"system": {"kind": "fixed", "max_edges": 5}}, "at most max_edges = 5 .* got 6; raise max_edges"),
        ({"slot": 1.0}, "unknown key 'slot' .did you mean 'slot_s'"),
        ({"workload": {"kind": "poisson", "largest_bits": 1.5e8}}, "must be sent within a slot"),
        ({"workload": {"kind": "poisson", "smallest_bits": 2e8}}, "smallest_bits <= largest_bits"),
        ({"channel": {"kind": "rayleigh", "link": {"edge_m": [500, 50]}}}, "nearest, farthest"),
        ({"channel": {"kind": "wired", "rates_bps": [2e8, 2e8]}}, "one rate for each of 7 servers; got 2"),
        ({"config": "trainig-6"}, "did you mean 'training-6'"),
        ({"config": "tiny", "slot_s": 2.0}, "a config or settings, not both"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        Offloading(**settings).reset(seed=0)


def test_bad_configs_in_python_are_refused_too():
    for build in (
        lambda: OffloadingConfig(slot_s=-1.0),
        lambda: OffloadingConfig.model_validate({"system": {"kind": "fixed", "edge_hz": (float("nan"),)}}),
        lambda: OffloadingConfig.model_validate(
            {"workload": {"kind": "discrete", "sizes_bits": (1.0,), "probabilities": (0.5,)}}
        ),
    ):
        with pytest.raises(ValueError, match=r"greater than 0|finite number|summing to"):
            build()
    assert issubclass(ConfigError, ParetoError)


def test_default_is_the_named_system_of_six():
    assert OffloadingConfig() == SYSTEMS["training-6"]
