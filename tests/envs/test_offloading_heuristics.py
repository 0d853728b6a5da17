"""The rules, each against what it says it does."""

import numpy as np
import pytest

from envs.offloading import SYSTEMS, OffloadingDynamics, OffloadingVector, feature, linucb, present
from envs.offloading.heuristics import Greedy, Random, RoundRobin, ShortestQueue
from envs.offloading.play import episode_costs, preference_costs
from envs.streams import Streams
from pareto.errors import ShapeError, SimplexError

PADDED = {"system": {"kind": "range", "edges": [1, 4], "max_edges": 6}}


def states_on_the_way(n=64, slots=30, **settings):
    """States and what is seen in them, under random choices."""
    dynamics, streams = OffloadingDynamics(**settings), Streams(range(n))
    state, rule = dynamics.start(streams), Random(np.full(n, 0.2), seed=9)
    for _ in range(slots):
        yield dynamics, state, dynamics.observe(state), streams
        state, *_ = dynamics.step(state, rule.act(dynamics.observe(state)), streams)


def test_greedy_takes_the_best_one_step_vector_reward():
    weights = np.column_stack([np.linspace(0, 1, 64), np.linspace(1, 0, 64)])
    scales = (20.0, 0.05)
    for dynamics, state, seen, _ in states_on_the_way(**PADDED):
        chosen = Greedy(weights, scales).act(seen)
        worth = np.full((64, 7), -np.inf)
        for server in range(7):
            there = state.frequency[:, server] > 0
            rows = np.flatnonzero(there)
            if len(rows):
                some = type(state)(*(a[rows] for a in state))
                _, reward, _ = dynamics.step(some, np.full(len(rows), server), Streams(range(len(rows))))
                worth[rows, server] = (reward * weights[rows] / scales).sum(axis=1)
        best = worth.max(axis=1)
        # observations are float32: a choice as good as the best to 6 digits is the best
        assert (worth[np.arange(64), chosen] >= best - 1e-6 * np.abs(best)).all()


def test_every_rule_stays_on_servers_that_are_there():
    rules = [
        Greedy([[0.5, 0.5]]),
        Random(np.full(64, 0.3), seed=1),
        RoundRobin(),
        ShortestQueue(),
        linucb.Linear(np.ones((1, 6))),
    ]
    for _, _, seen, _ in states_on_the_way(slots=10, **PADDED):
        for rule in rules:
            chosen = rule.act(seen)
            assert present(seen)[np.arange(64), chosen].all()


def test_random_sends_its_share_to_the_cloud_and_the_rest_evenly():
    seen = next(iter(states_on_the_way(n=1)))[2]
    many = np.repeat(seen, 20_000, axis=0)
    counts = np.bincount(Random(np.full(20_000, 0.4), seed=3).act(many), minlength=7) / 20_000
    np.testing.assert_allclose(counts, [0.4] + [0.1] * 6, atol=0.014)  # 4 standard errors


def test_round_robin_takes_turns_and_shortest_queue_the_shortest():
    rule = RoundRobin()
    for t, (_, _, seen, _) in enumerate(states_on_the_way(**PADDED)):
        servers = present(seen).sum(axis=1)
        np.testing.assert_array_equal(rule.act(seen), t % servers)
        tasks, hertz = feature(seen, "tasks"), feature(seen, "frequency")
        for i, chosen in enumerate(ShortestQueue().act(seen)):
            keys = [(tasks[i, e], -hertz[i, e]) for e in range(servers[i])]
            assert keys[chosen] == min(keys)


def test_linucb_learns_a_cost_that_is_linear():
    # energy is linear in LinUCB's features, so that at weight 1 on energy it must come to choose as greedy does
    coefficients = linucb.fit([[0.0, 1.0]], SYSTEMS["training-6"], seed=1, copies=8, episodes=2)
    agree = [
        (linucb.Linear(coefficients).act(seen) == Greedy([[0.0, 1.0]]).act(seen))[
            feature(seen, "size")[:, 0] > 0
        ]
        for *_, seen, _ in states_on_the_way()
    ]
    assert np.concatenate(agree).mean() > 0.97


def test_preferences_are_played_on_the_same_episodes():
    config, seeds = SYSTEMS["training-2"], [5, 6, 7]
    weights = np.array([[0.1, 0.9], [0.9, 0.1]])
    costs = preference_costs(lambda i: Greedy(weights[i]), 2, config, seeds, slots=20)
    for p in range(2):
        np.testing.assert_array_equal(costs[p], episode_costs(Greedy(weights[p]), config, seeds, slots=20))
    delay, energy = costs.mean(axis=1).T
    assert delay[0] > delay[1]
    assert energy[0] < energy[1]


def test_costs_are_the_sum_of_the_rewards():
    config, rule = SYSTEMS["training-3"], Greedy([[0.5, 0.5]])
    vector = OffloadingVector(1, config=config)
    seen, _ = vector.reset(seed=8)
    total = np.zeros(2)
    for _ in range(25):
        seen, reward, *_ = vector.step(rule.act(seen))
        total += reward[0]
    np.testing.assert_array_equal(episode_costs(rule, config, [8], slots=25)[0], -total)


@pytest.mark.parametrize("weights", [[np.nan, 1.0], [0.7, 0.7], [-0.1, 1.1]])
def test_preferences_off_the_simplex_are_refused(weights):
    with pytest.raises(SimplexError, match=r"weights must"):
        Greedy([weights])
    with pytest.raises(SimplexError, match=r"weights must"):
        linucb.fit([weights], SYSTEMS["tiny"], seed=0)


def test_preferences_over_other_objectives_are_refused():
    with pytest.raises(ShapeError, match=r"over \(delay, energy\)"):
        Greedy([[0.2, 0.3, 0.5]])
