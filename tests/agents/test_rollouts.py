"""Rollouts: what they say is what happens, and a network that learns from them comes near the exact front."""

import numpy as np
import pytest
import torch

from envs.offloading import TINY, TINY_SLOTS
from envs.offloading.exact import grow, policy_value, supported_front
from envs.offloading.frozen import REF_POINTS
from pareto.agents.dispatching import Job, spread_preferences
from pareto.agents.foresight import Foresight
from pareto.agents.gmorl_rollouts import GMORLRollouts
from pareto.agents.rollout_learning import RolloutConfig, RolloutLearning, centred
from pareto.agents.rollouts_scalarized import ScalarizedRollouts
from pareto.errors import ConfigError
from pareto.front import hypervolume
from pareto.tasks.env import EnvTask
from tests.agents.small import sea
from tests.laws.resuming import whole_and_resumed

SIX = EnvTask(id="pareto/Offloading-v0", gamma=1.0, options={"config": "training-3"}, max_episode_steps=12)
SMALL = EnvTask(id="pareto/OffloadingTiny-v0", gamma=1.0)
SHORT = {"copies": 8, "states": 4, "every": 2, "updates": 3, "batch": 16, "hidden": 4, "memory": 2}


def shortest(observations, weights):
    """Some policy: the server with the fewest tasks."""
    return observations[..., 3].argmin(axis=1)


@pytest.mark.parametrize(("horizon", "gamma"), [(3, 1.0), (100, 1.0), (100, 0.5)])
def test_a_branch_is_what_then_happens(horizon, gamma):
    """The branch of the choice taken earns what the environment itself then earns, to the last bit of its sums."""
    envs = SIX.open(6)
    foresight = Foresight(SIX.open(3 * 4), 4, horizon, gamma)
    rows = np.array([1, 4, 5])
    envs.reset(range(6))
    for _ in range(2):
        envs.step(np.arange(6) % 4)
    futures = foresight.futures(
        envs.state_dict(), rows, np.ones((3, 4), bool), np.full((3, 2), 0.5), shortest
    )
    step, total, steps = envs.step(np.array([0, 2, 0, 0, 3, 1])), 0.0, 1
    for _ in range(min(horizon, 9)):
        step, steps = envs.step(shortest(step.observations, None)), steps + 1
        total = total + gamma ** (steps - 1) * step.rewards
    np.testing.assert_array_equal(futures[np.arange(3), [2, 3, 1]], total[rows])
    assert foresight.steps == 3 * 4 * steps
    # two slots were played and one decided: nine are left of twelve, where the horizon does not end it before
    assert steps == 1 + min(horizon, 9)


def test_a_choice_without_a_task_leads_to_the_same():
    envs = SIX.open(64)
    idle = np.flatnonzero(envs.reset(range(64))[:, 0, 0] == 0)[:3]
    assert len(idle) == 3
    futures = Foresight(SIX.open(12), 4, 50).futures(
        envs.state_dict(), idle, np.ones((3, 4), bool), np.full((3, 2), 0.5), shortest
    )
    np.testing.assert_array_equal(futures, np.repeat(futures[:, :1], 4, axis=1))


def test_centred_values_leave_absent_servers_out():
    """Present are 1, 2 and 6 with mean 3, and 4 alone."""
    values = torch.tensor([[1.0, 2.0, 6.0, 99.0], [4.0, 99.0, 99.0, 99.0]])
    present = torch.tensor([[True, True, True, False], [True, False, False, False]])
    assert centred(values, present).tolist() == [[-2.0, -1.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


def test_the_tiny_instance_is_learned_to_its_exact_front():
    """The greedy rule has 96.5 % of the hypervolume of all policies; all 101 optima at equal steps of the weight have 99.4 %."""
    config = RolloutConfig(
        total_steps=124_000, copies=512, states=512, every=1, memory=3, updates=200, hidden=32
    )
    job = Job(SMALL, lambda draw, n: spread_preferences(draw, n, 1.0), "tiny", seed=0)
    learning = RolloutLearning(job, config)
    while not learning.finished:
        learning.step()
    tree, ref_point = grow(TINY, TINY_SLOTS), -np.array(REF_POINTS["tiny"]["rule"])
    values = []
    for w in np.linspace(0, 1, 101):
        actor = learning.actor(np.array([w, 1 - w]))
        values.append(policy_value(tree, lambda seen, actor=actor: actor.act(seen, np.random.default_rng(0))))
    share = hypervolume(np.array(values), ref_point) / hypervolume(supported_front(tree), ref_point)
    assert 0.98 <= share <= 1.0


@pytest.mark.parametrize("kind", [GMORLRollouts, ScalarizedRollouts])
def test_killed_and_resumed_is_uninterrupted(tmp_path, kind):
    method = kind(rollouts=RolloutConfig(total_steps=1000, **SHORT))
    cell = method.plan(SMALL, [{"delay": 0.5, "energy": 0.5}], [3])[0]
    whole, resumed = whole_and_resumed(method, cell, SMALL, tmp_path)
    assert resumed == whole
    assert whole[0].env_steps >= 1000


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(ConfigError, match="a multiple of 4 copies and a horizon of at least 1; got 6 and 3"):
        Foresight(SIX.open(6), 4, 3)
    with pytest.raises(ConfigError, match="a dispatcher needs pareto/Offloading-v0"):
        GMORLRollouts().plan(sea(), [{"treasure": 0.5, "time": 0.5}], [0])
