"""Rules that are searched for: annealing, evolution, tables on coarse states."""

import numpy as np
import pytest

from envs.offloading import SYSTEMS, OffloadingVector, annealing, coarse, evolution, feature, present, scored
from envs.offloading.frozen import SCALES
from envs.offloading.heuristics import Greedy
from envs.offloading.play import preference_costs
from pareto.errors import MissingPackageError, SimplexError
from pareto.front import hypervolume

CONFIG = SYSTEMS["training-3"].model_copy(update={"histogram_bins": 1})
WEIGHTS = np.array([[0.1, 0.9], [0.4, 0.6], [0.6, 0.4], [0.9, 0.1]])
PLAY = {"seed": 1, "episodes": 4, "slots": 25}


@pytest.fixture(scope="module")
def observations():
    """Busy servers, some of them absent, in slots with and without a task."""
    config = CONFIG.model_copy(update={"system": CONFIG.system.model_copy(update={"max_edges": 5})})
    vector = OffloadingVector(200, config=config)
    seen, _ = vector.reset(seed=3)
    for _ in range(15):
        seen, *_ = vector.step(Greedy(np.tile([0.3, 0.7], (200, 1))).act(seen))
    return seen


def test_scores_of_two_costs_are_the_greedy_rule(observations):
    weights = np.column_stack([np.linspace(0, 1, 200), np.linspace(1, 0, 200)])
    busy = feature(observations, "size")[:, 0] > 0
    np.testing.assert_array_equal(
        scored.Scored(scored.greedy_theta(weights)).act(observations)[busy],
        Greedy(weights).act(observations)[busy],
    )


def test_the_crowd_counts_time_alone_once_for_every_task(observations):
    """The fourth number alone: the server with the fewest tasks times (size 1e3 / f), by hand."""
    chosen = scored.Scored(np.array([0.0, 0.0, 0.0, 1.0])).act(observations)
    for row, server in zip(observations, chosen):
        there = np.flatnonzero(present(row))
        crowd = (
            feature(row, "tasks")[there]
            * feature(row, "size")[there]
            * 1e3
            / feature(row, "frequency")[there]
        )
        assert server in there[np.isclose(crowd, crowd.min(), rtol=1e-5)]


def test_annealing_begins_at_the_greedy_rule_and_never_ends_worse():
    seeds = range(PLAY["seed"], PLAY["seed"] + PLAY["episodes"])
    greedy = scored.greedy_theta(WEIGHTS)
    np.testing.assert_array_equal(annealing.fit(WEIGHTS, CONFIG, iterations=0, **PLAY), greedy)
    found = annealing.fit(WEIGHTS, CONFIG, iterations=15, **PLAY)
    before, after = (
        (scored.mean_costs(t, CONFIG, seeds, PLAY["slots"]) * WEIGHTS).sum(axis=1) for t in (greedy, found)
    )
    assert (after <= before).all()
    assert after.sum() < 0.99 * before.sum()
    np.testing.assert_array_equal(found, annealing.fit(WEIGHTS, CONFIG, iterations=15, **PLAY))
    with pytest.raises(SimplexError, match="weights must"):
        annealing.fit([[np.nan, 1.0]], CONFIG, seed=0)


def test_evolution_keeps_what_it_has_and_finds_more():
    pytest.importorskip("pymoo")
    seeds = range(PLAY["seed"], PLAY["seed"] + PLAY["episodes"])
    delay = np.linspace(0, 1, 12) ** 3
    first = scored.greedy_theta(np.column_stack([delay, 1 - delay]))
    found = evolution.fit(CONFIG, population=12, generations=12, **PLAY)
    fronts = [-scored.mean_costs(theta, CONFIG, seeds, PLAY["slots"]) for theta in (first, found)]
    ref_point = fronts[0].min(axis=0) - 1.0
    assert found.shape == (12, scored.N_PARAMETERS)
    assert hypervolume(fronts[1], ref_point) > hypervolume(fronts[0], ref_point)


def test_evolution_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pymoo.algorithms.moo.nsga2", None)
    with pytest.raises(MissingPackageError, match="NSGA-II over offloading rules needs the package 'pymoo'"):
        evolution.fit(CONFIG, seed=0)


def test_coarse_states_by_hand(observations):
    servers = coarse.choices(observations)
    found = coarse.states(observations, servers)
    delay, energy = feature(observations, "delay"), feature(observations, "energy")
    for i in range(0, 200, 7):
        edges = [e for e in range(1, 6) if present(observations)[i, e]]
        quickest = min(edges, key=lambda e: delay[i, e])
        cheapest = min(edges, key=lambda e: energy[i, e])
        assert servers[i].tolist() == [0, quickest, cheapest]
        number = sum(feature(observations, "size")[i, 0] >= b for b in (1.0, 4e6, 12e6, 30e6))
        for e in servers[i]:
            number = 5 * number + sum(delay[i, e] >= b for b in (5.0, 15.0, 40.0, 100.0))
        assert found[i] == number


def test_tables_solve_what_was_counted(monkeypatch):
    """Two states, two choices tried in state 0, one in state 1, rewards in units of the scales, gamma 1/2.

    State 1 stays and earns (-1, 0): worth w.(-2, 0). In state 0 choice 0 earns (0, -1) and stays; always taken it is worth
    w.(0, -2). Choice 2 earns (0, 0) and goes on to either state with chance 1/2: Q = (V_0 + V_1) / 4. At w = (.9, .1) choice
    0 has -.1 + V_0 / 2 and choice 2 has (V_0 - 1.8) / 4: with V_0 = -.2 these are -.2 and -.5, so choice 0. At (.1, .9):
    with V_0 = x, choice 2 gives x = (x - .2) / 4, x = -.0667, and choice 0 gives -.9 - .0333: choice 2.
    """
    count = np.zeros((coarse.N_STATES, 3))
    reward, follows = np.zeros((*count.shape, 2)), np.zeros((*count.shape, coarse.N_STATES))
    count[0] = [10, 0, 4]
    count[1] = [0, 3, 0]
    reward[0, 0], reward[1, 1] = (0, -10 * SCALES[1]), (-3 * SCALES[0], 0)
    follows[0, 0, 0], follows[0, 2, 0], follows[0, 2, 1], follows[1, 1, 1] = 10, 2, 2, 3
    monkeypatch.setattr(coarse, "_counted", lambda *_: (count, reward, follows))
    best = coarse.fit([[0.9, 0.1], [0.1, 0.9]], CONFIG, seed=0, gamma=0.5)
    assert best[:, :2].tolist() == [[0, 1], [2, 1]]
    assert (best[:, 2:] == 1).all()  # never seen


def test_tables_learn_to_do_better_than_chance():
    best = coarse.fit(WEIGHTS, CONFIG, seed=5, copies=64, episodes=2, slots=50)
    anyhow = np.random.default_rng(0).integers(0, 3, best.shape)
    costs = [
        preference_costs(lambda i, t=t: coarse.Table(t[i]), 4, CONFIG, range(90, 110), 50).mean(axis=1)
        for t in (best, anyhow)
    ]
    learned, random = ((c / np.array(SCALES) * WEIGHTS).sum(axis=1) for c in costs)
    assert (learned < 0.95 * random).all()
