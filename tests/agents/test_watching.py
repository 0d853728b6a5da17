"""Episodes that are watched: which states count for whom, and what followed them."""

import numpy as np
import pytest
from gymnasium import spaces

from pareto.agents.watching import returns_to_go, watched
from pareto.models.actors.mlp import MLPActor
from tests.agents.small import cart, sea


def test_returns_to_go_by_hand():
    # two copies, gamma 1/2; the second's episode is over after its second step, and another begins
    rewards = np.array([[[1.0], [4.0]], [[2.0], [8.0]], [[4.0], [100.0]]])
    over = np.array([[False, False], [False, True], [True, True]])
    worth = returns_to_go(rewards, over, 0.5)
    # 4; 2 + 4/2 = 4; 1 + 4/2 = 3  and  100; 8; 4 + 8/2 = 8
    assert worth[..., 0].T.tolist() == [[3.0, 4.0, 4.0], [8.0, 8.0, 100.0]]


def constant(action, d=7, n=6):
    """A policy that takes one action everywhere."""
    bias = np.eye(n, dtype=np.float32)[action]
    return MLPActor([(np.zeros((d, n), np.float32), bias)], np.zeros(d), np.ones(d), "mode")


def watch(policies, episodes, **options):
    task = cart(max_episode_steps=15)
    return watched(task, policies, episodes, **{"max_episode_steps": 15, "seed": 0, "label": "a", **options})


@pytest.mark.parametrize("episodes", [3, 4])
def test_states_are_watched_with_what_followed(episodes):
    found = watch([constant(a) for a in (3, 5, 0)], episodes)
    assert isinstance(cart().facts.actions.space, spaces.Discrete)
    assert found.returns.shape == (3, episodes, 3)
    for k in range(3):
        assert len(found.states[k]) == len(found.worth[k]) <= 15 * episodes
        for episode in found.returns[k]:  # what followed the first state of an episode is its return
            assert np.isclose(found.worth[k], episode).all(axis=1).any()
    assert found.steps >= sum(map(len, found.states))
    # whoever does nothing pays for nothing but the time
    idle = found.returns[1]
    np.testing.assert_array_equal(idle[:, :2], 0.0)


def test_copies_that_are_over_count_no_longer():
    """Always down takes one step to a treasure of .7, always up runs into the wall for all of 9."""
    policies = [constant(1, d=2, n=4), constant(0, d=2, n=4)]
    found = watched(sea(), policies, 3, max_episode_steps=9, seed=0, label="a")
    assert [len(s) for s in found.states] == [3, 3 * 9]
    np.testing.assert_allclose(found.worth[0], np.tile([0.7, -1.0], (3, 1)), atol=1e-6)


def test_what_another_began_counts_from_where_it_was_left():
    """Policy 1 idles, and its fuel is that of idling; policy 0 accelerates, which costs more in each step."""
    alone, begun = (watch([constant(3), constant(5)], 8, begun=b) for b in (0.0, 14.0))
    assert [len(s) for s in alone.states] == [8 * 15] * 2
    assert all(0 < len(s) < 8 * 15 for s in begun.states)
    # half of the beginners are the other policy, which has moved: idling is seen at speeds that it never has by itself
    still, moved = alone.states[1], begun.states[1]
    assert len(np.unique(still[:, 2:4].round(3), axis=0)) < len(np.unique(moved[:, 2:4].round(3), axis=0))
    # what is left of an episode of idling costs as much as idling always did
    costs = np.unique(alone.worth[1][:, 2].round(5))
    assert set(np.unique(begun.worth[1][:, 2].round(5))) <= set(costs)


def test_the_same_label_gives_the_same_episodes():
    first, again, other = (watch([constant(3), constant(5)], 4, begun=9.0, label=x) for x in "aab")
    for a, b in zip(first.states, again.states):
        np.testing.assert_array_equal(a, b)
    assert [len(s) for s in first.states] != [len(s) for s in other.states]
