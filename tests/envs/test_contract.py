"""What every registered environment owes its users; a new one is swept without touching this file."""

import inspect
import warnings
from pathlib import Path

import gymnasium as gym
import moocore
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from pareto.env_loader import load_envs
from pareto.errors import ConfigError, ShapeError
from pareto.objectives import Objectives
from pareto.rng import generator

ENVS = load_envs()
IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("pareto/"))
HEADINGS = (
    "Description:",
    "Observation:",
    "Action:",
    "Reward space:",
    "Start:",
    "Termination:",
    "Arguments:",
    "Credits:",
)
SHORT = 40  # steps after which the contract truncates, so that resets happen everywhere

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Linear(gym.RewardWrapper, gym.utils.RecordConstructorArgs):
    """The mean of the objectives, for checks that insist on a number."""

    def __init__(self, env):
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.RewardWrapper.__init__(self, env)

    def reward(self, reward):
        return float(np.mean(reward))


def actions_of(space, steps, seed):
    space.seed(seed)
    return [space.sample() for _ in range(steps)]


def test_there_is_something_to_sweep():
    assert len(IDS) >= 9
    before = dict(gym.registry)
    ENVS.register_all()
    assert gym.registry == before


@pytest.mark.parametrize("env_id", IDS)
def test_has_a_docstring_with_the_fixed_headings_and_a_test_file(env_id):
    cls = type(gym.make(env_id).unwrapped)
    doc = inspect.getdoc(cls)
    found = [doc.find(f"\n{heading}\n") for heading in HEADINGS]
    assert all(at > 0 for at in found), dict(zip(HEADINGS, found))
    assert found == sorted(found)
    module = cls.__module__.removeprefix(f"{ENVS.__name__}.").split(".")[0]
    assert list(Path(__file__).parent.glob(f"test_{module}*.py")), f"tests/envs/test_{module}.py is missing"


@pytest.mark.parametrize("env_id", IDS)
def test_passes_gymnasiums_checker_under_a_linear_reward(env_id):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(Linear(gym.make(env_id).unwrapped))


@pytest.mark.parametrize("env_id", IDS)
def test_draws_what_it_says_it_draws(env_id):
    modes = gym.make(env_id).metadata["render_modes"]
    for mode in modes:
        env = gym.make(env_id, render_mode=mode)
        env.reset(seed=0)
        first = env.render()
        assert first.dtype == np.uint8
        assert first.ndim == 3
        for action in actions_of(env.action_space, 15, 0):
            env.step(action)
        assert (env.render() != first).any(), "the picture does not move"
    with pytest.raises(ConfigError, match="render_mode"):
        type(gym.make(env_id).unwrapped)(render_mode="rgb_arry")


@pytest.mark.parametrize("env_id", IDS)
def test_tells_about_its_rewards(env_id):
    single, batch = gym.make(env_id).unwrapped, gym.make_vec(env_id, num_envs=2)
    for env in (single, batch):
        assert isinstance(env.objectives, Objectives)
        assert env.reward_dim == len(env.objectives) == len(env.ref_point)
        assert env.reward_space.shape == (env.reward_dim,)
        assert env.reward_space.dtype in (np.float32, np.float64)
        assert 0 < env.gamma <= 1
        assert env.metadata["objectives"] == env.objectives.to_json()
        assert (env.objectives.signs == 1).all(), "rewards are maximised"
    assert batch.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("env_id", IDS)
def test_batched_equals_single_bit_for_bit(env_id):
    seeds = [11, 3, 3, 2**40, 0]
    limit = gym.spec(env_id).max_episode_steps
    limit = min(limit or SHORT, SHORT)
    batch = gym.make_vec(env_id, num_envs=len(seeds), max_episode_steps=limit)
    singles = [gym.make(env_id, max_episode_steps=limit) for _ in seeds]
    obs, info = batch.reset(seed=seeds)
    assert info == {}
    assert batch.observation_space.contains(obs)
    for env, seed, o in zip(singles, seeds, obs):
        np.testing.assert_array_equal(env.reset(seed=seed)[0], o)
    np.testing.assert_array_equal(obs[1], obs[2])
    ends = 0
    for actions in actions_of(batch.action_space, 3 * SHORT, 1):
        obs, rewards, terminated, truncated, info = batch.step(actions)
        assert rewards.dtype == batch.reward_space.dtype
        assert obs.dtype == batch.single_observation_space.dtype
        for i, env in enumerate(singles):
            o, r, end, cut, _ = env.step(actions[i])
            assert env.unwrapped.reward_space.contains(r), r
            assert env.observation_space.contains(o), o
            np.testing.assert_array_equal(rewards[i], r)
            assert (terminated[i], truncated[i]) == (end, cut)
            if end or cut:
                ends += 1
                assert info["_final_obs"][i]
                np.testing.assert_array_equal(info["final_obs"][i], o)
                o, _ = env.reset()
            np.testing.assert_array_equal(obs[i], o)
    assert ends > len(seeds)


@pytest.mark.parametrize("env_id", IDS)
def test_same_seed_same_bytes_and_other_seed_other_luck(env_id):
    env = gym.make_vec(env_id, num_envs=6)
    actions = actions_of(env.action_space, SHORT, 2)

    def play(seed):
        out = [env.reset(seed=seed)[0]]
        for a in actions:
            out += env.step(a)[:4]
        return b"".join(np.ascontiguousarray(x).tobytes() for x in out)

    assert play(5) == play(5)
    assert play(5) == play([5, 6, 7, 8, 9, 10])
    env.reset(seed=5)
    counters = env.state_dict()["counters"]
    env.reset(seed=[5, 6, 7, 8, 9, 10])
    np.testing.assert_array_equal(counters, env.state_dict()["counters"])
    assert len(set(counters)) == 6
    if any(len(v) for v in (env.reset(seed=0)[0] != env.reset(seed=100)[0]).nonzero()):
        assert play(5) != play(6)


@pytest.mark.parametrize("env_id", IDS)
def test_goes_on_from_a_saved_state(env_id):
    env, other = (gym.make_vec(env_id, num_envs=4, max_episode_steps=SHORT // 2) for _ in range(2))
    env.reset(seed=9)
    actions = actions_of(env.action_space, SHORT, 3)
    for a in actions[: SHORT // 4]:
        obs = env.step(a)[0]
    saved = env.state_dict()
    np.testing.assert_array_equal(other.load_state_dict(saved), obs)
    for a in actions[SHORT // 4 :]:
        for ours, theirs in zip(env.step(a)[:4], other.step(a)[:4]):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ShapeError, match="expected the state of 3 copies; got 4"):
        gym.make_vec(env_id, num_envs=3).load_state_dict(saved)


@pytest.mark.parametrize("env_id", IDS)
def test_a_masked_reset_restarts_only_what_it_names(env_id):
    env = gym.make_vec(env_id, num_envs=4, max_episode_steps=SHORT)
    env.reset(seed=1)
    for a in actions_of(env.action_space, 3, 4):
        before = env.step(a)[0]
    mask = np.array([True, False, False, True])
    after, _ = env.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (env.state_dict()["lengths"][mask] == 0).all()
    assert (env.state_dict()["lengths"][~mask] > 0).any()


@pytest.mark.parametrize("env_id", IDS)
def test_refuses_what_is_no_action(env_id):
    env = gym.make_vec(env_id, num_envs=3)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(env.action_space.sample())
    env.reset(seed=0)
    with pytest.raises(ShapeError, match="one per copy"):
        env.step(env.action_space.sample()[:2])
    with pytest.raises(gym.error.InvalidAction):
        env.step(np.full_like(env.action_space.sample(), 100))


@pytest.mark.parametrize("env_id", IDS)
def test_a_declared_front_is_non_dominated_and_unbeaten_by_random_plans(env_id):
    env = gym.make(env_id).unwrapped
    gamma, plans, copies = 0.97, 200, 100
    front = env.pareto_front(gamma)
    if front is None:
        pytest.skip("no exact front is known")
    assert moocore.is_nondominated(-front).all()
    batch = gym.make_vec(env_id, num_envs=plans * copies)
    batch.reset(seed=1)
    rng = generator("test", "plans", env_id)
    leaning = rng.dirichlet(np.ones(env.action_space.n), size=plans)
    returns, alive, t = np.zeros((plans * copies, env.reward_dim)), np.ones(plans * copies, dtype=bool), 0
    while alive.any():
        plan = np.array(
            [rng.choice(len(p), p=p) for p in leaning]
        )  # the copies of a plan differ in luck only
        _, reward, terminated, truncated, _ = batch.step(np.repeat(plan, copies))
        returns[alive] += gamma**t * reward[alive].astype(float)
        alive &= ~(terminated | truncated)
        t += 1
    returns = returns.reshape(plans, copies, -1)
    error = returns.std(axis=1) / np.sqrt(copies)
    at_least = returns.mean(axis=1) - 5 * error - 1e-5
    reached = (front >= at_least[:, None]).all(axis=-1)  # [plan, point]
    assert reached.any(axis=1).all(), at_least[~reached.any(axis=1)]
