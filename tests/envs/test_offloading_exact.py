"""The exact oracle against the environment it enumerates."""

import numpy as np
import pytest

from envs.offloading import TINY, TINY_SLOTS, OffloadingConfig, OffloadingDynamics
from envs.offloading.calibrate import tiny
from envs.offloading.exact import best_values, grow, policy_value, supported_front
from envs.offloading.frozen import REF_POINTS, SCALES, ref_points
from envs.offloading.heuristics import Greedy, ShortestQueue
from envs.offloading.play import episode_costs
from envs.offloading.system import Range
from pareto.errors import ConfigError


@pytest.fixture(scope="module")
def tree():
    return grow(TINY, TINY_SLOTS)


@pytest.fixture(scope="module")
def corners(tree):
    return supported_front(tree)


def test_policy_value_is_what_episodes_average_to(tree):
    for rule in (Greedy([[0.6, 0.4]]), ShortestQueue()):
        costs = episode_costs(rule, TINY, range(20_000), slots=TINY_SLOTS)
        error = costs.std(axis=0) / np.sqrt(len(costs))
        assert (np.abs(costs.mean(axis=0) + policy_value(tree, rule.act)) < 4 * error).all()


def test_front_is_convex_and_every_corner_is_best_for_some_weights(tree, corners):
    rise = np.diff(corners, axis=0)
    slopes = rise[:, 1] / rise[:, 0]
    assert (rise[:, 0] < 0).all()
    assert (rise[:, 1] > 0).all()
    assert (np.diff(slopes) > 0).all()
    normals = np.column_stack([rise[:, 1], -rise[:, 0]])
    normals /= normals.sum(axis=1, keepdims=True)
    between = (normals[:-1] + normals[1:]) / 2
    np.testing.assert_allclose(best_values(tree, between / between.sum(axis=1, keepdims=True)), corners[1:-1])


def test_no_rule_is_outside_the_front(tree, corners):
    rise = np.diff(corners, axis=0)
    normals = np.column_stack([rise[:, 1], -rise[:, 0]])
    heights = (corners[:-1] * normals).sum(axis=1)
    for w in np.linspace(0, 1, 21):
        value = policy_value(tree, lambda seen, w=w: Greedy([[w, 1 - w]]).act(seen))
        assert (normals @ value <= heights + 1e-9 * np.abs(heights)).all()
        assert (value <= corners.max(axis=0) + 1e-9).all()


def test_a_single_slot_by_hand():
    # sizes 3 and 9 Mbit with probability .4 each; cloud 4 Mbit/s behind 200 Mbit/s, edge 2 Mbit/s behind 500 Mbit/s
    mean = 0.4 * 3e6 + 0.4 * 9e6
    cloud = [mean / 2e8 + mean / 4e6, 0.2 * mean / 2e8 + 8e-9 * mean]
    edge = [mean / 5e8 + mean / 2e6, 0.2 * mean / 5e8 + 2e-9 * mean]
    corners = -supported_front(grow(TINY, 1))
    np.testing.assert_allclose(corners[0], cloud)
    np.testing.assert_allclose(corners[-1], edge)
    assert len(corners) == 2  # both costs grow with the size: what lies between the two ends is no corner


def test_only_enumerable_instances_are_accepted():
    with pytest.raises(ConfigError, match="can be enumerated; got range, poisson, rayleigh"):
        grow(OffloadingConfig(), 3)


def test_reference_point_follows_the_system():
    delay_s, energy_j = REF_POINTS["training-6"]["rule"]
    assert OffloadingDynamics().ref_point == (-delay_s, -energy_j)
    mixed = ref_points(OffloadingConfig(system=Range(edges=(5, 6))))
    pair = [REF_POINTS["training-5"]["inner"], REF_POINTS["training-6"]["inner"]]
    np.testing.assert_allclose(mixed["inner"], -np.mean(pair, axis=0))
    np.testing.assert_allclose(mixed["double"], 2 * np.array(mixed["rule"]))
    assert ref_points(TINY)["rule"] == tuple(-v for v in REF_POINTS["tiny"]["rule"])


def test_measuring_again_gives_the_frozen_numbers_of_the_tiny_instance():
    measured = tiny(SCALES)
    assert {k: tuple(v) for k, v in measured["ref_points"].items() if k != "double"} == REF_POINTS["tiny"]
    hypervolume = measured["hypervolume"]["rule"]
    assert hypervolume["greedy"] < hypervolume["exact"] < hypervolume["ideal"]
