"""Rounds of extensions: where they start, what holds in them, and multipliers by hand."""

import json

import numpy as np
import pytest
import torch

from pareto.agents.aims import Weighted
from pareto.agents.collecting import Collector, HardBudget
from pareto.agents.extensions import OPEN, BarrierExtension, BudgetExtension, Round
from pareto.agents.lagrangian import PIDLagrangian
from pareto.agents.selecting import CrowdingSelection, Known
from pareto.cells import canonical_json
from pareto.objectives import Objectives
from pareto.tasks.env import EnvTask

NAMES = Objectives(["treasure", "time"])


def known(points, tried=None):
    points = np.array(points, dtype=float)
    spans = np.maximum(np.ptp(points, axis=0), 1e-9)
    return Known(NAMES, points, spans, np.array([0.0, -50.0]), np.full(2, 0.1), tried or {})


def test_a_constrained_round_has_thresholds_below_its_starts():
    """Span 100 and 16: floors G - .1 max(|G|, span), and for time, whose own beta is 0, G - max(|G|, span)."""
    extension = BarrierExtension(betas={"time": 0.0}, climbs=("treasure",), select=CrowdingSelection(n=2))
    plan = extension.plan(known([[1, -1], [101, -17]]))
    assert plan.objectives.tolist() == [0, 0]
    np.testing.assert_allclose(plan.floors, [[1 - 10, -1 - 16], [101 - 10.1, -17 - 17]])
    again = Round.from_json(plan.to_json())
    np.testing.assert_array_equal(again.floors, plan.floors)
    assert again.budgets is None


def test_gaps_are_tried_from_both_sides_the_least_tried_and_widest_first_and_beyond_the_end():
    extension = BudgetExtension(objective="time", climbs="treasure", parallel=2)
    points = [[1, -1], [20, -5], [100, -17]]
    plan = extension.plan(known(points))
    assert plan.starts.tolist() == [2, 2, 1, 2]
    assert plan.budgets.tolist() == [OPEN, OPEN, -17, -17]
    assert (
        Round.from_json(json.loads(canonical_json(plan.to_json()))).budgets.tolist() == plan.budgets.tolist()
    )
    tried = {tuple(key): 1 for key in plan.keys.tolist()}
    second = extension.plan(known(points, tried))
    assert second.starts.tolist() == [0, 1, 2, 2]  # what was not tried before, then beyond the end once more
    assert second.budgets.tolist() == [-5, -5, OPEN, OPEN]


def test_the_step_that_overdraws_a_budget_earns_nothing_and_ends_the_episode():
    """Right, then down: the treasure 8.2 after 3 steps. Allowed are fewer than 3 steps, or fewer than 4."""
    task = EnvTask(id="deep-sea-treasure-v0")
    spent = [-(1 - 0.99**k) / 0.01 for k in (3, 4)]
    collector = Collector(task.open(2), 2, 0.99, 4, 2, 0, HardBudget(1, np.array(spent)))
    seen = []
    for action in (3, 1, 1):
        step = collector._within_budget(collector.envs.step(np.array([action, action])))
        collector._count(step.rewards, step.terminated | step.truncated)
        seen.append(step)
    assert [s.terminated.tolist() for s in seen] == [[False, False], [False, False], [True, True]]
    np.testing.assert_allclose(seen[2].rewards, [[0.0, -1.0], [8.2, -1.0]], atol=1e-6)
    np.testing.assert_allclose(
        collector.window.means(), [[0.0, spent[0]], [8.2 * 0.99**2, spent[0]]], rtol=1e-6
    )


def test_a_broken_off_episode_starts_anew():
    task = EnvTask(id="deep-sea-treasure-v0")
    collector = Collector(task.open(1), 1, 1.0, 4, 2, 0, HardBudget(1, np.array([-2.0])))
    for action in (3, 3):  # two steps right: the budget of two is reached
        step = collector._within_budget(collector.envs.step(np.array([action])))
        collector._count(step.rewards, step.terminated | step.truncated)
    assert step.terminated.tolist() == [True]
    np.testing.assert_array_equal(step.observations, [[0, 0]])
    np.testing.assert_array_equal(step.final_observations, [[0, 2]])
    assert collector.returns.tolist() == [[0.0, 0.0]]


def test_multipliers_follow_violation_integral_and_rise():
    """Floor 1, span 2, gains (2, .5, 1). Returns 0, then .5: violations .5, .25; integrals .5, .75; rises .5, 0."""
    aim = PIDLagrangian(np.array([0]), np.array([[-9.0, 1.0]]), np.array([1.0, 2.0]), (2.0, 0.5, 1.0))
    change = torch.zeros(1, 2)
    np.testing.assert_allclose(aim.coefficients(change), [[1.0, 0.0]])
    aim.measured(np.array([[3.0, 0.0]]), np.ones(1))
    first = 2 * 0.5 + 0.5 * 0.5 + 0.5
    np.testing.assert_allclose(
        aim.coefficients(change), [[1 / (1 + first), first / (1 + first) / 2]], rtol=1e-6
    )
    aim.measured(np.array([[3.0, 0.5]]), np.ones(1))
    second = 2 * 0.25 + 0.5 * 0.75
    np.testing.assert_allclose(
        aim.coefficients(change), [[1 / (1 + second), second / (1 + second) / 2]], rtol=1e-6
    )
    other = PIDLagrangian(np.array([0]), np.array([[-9.0, 1.0]]), np.array([1.0, 2.0]), (2.0, 0.5, 1.0))
    other.load(aim.state())
    torch.testing.assert_close(other.coefficients(change), aim.coefficients(change))


def test_weights_are_constant_coefficients():
    aim = Weighted(np.array([[0.2, 0.8]]))
    np.testing.assert_allclose(aim.coefficients(torch.randn(1, 2)), [[0.2, 0.8]])
    aim.load(aim.state())


def test_a_budget_extension_needs_objectives_that_are_there():
    with pytest.raises(ValueError, match="unknown objective 'tme'"):
        BudgetExtension(objective="tme", climbs="treasure").plan(known([[1, -1], [2, -3]]))
