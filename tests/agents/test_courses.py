"""Courses: who goes on, towards what, and for how long."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pareto.agents.aims import Weighted
from pareto.agents.box import Box
from pareto.agents.courses import Course
from pareto.agents.extensions import Round
from pareto.agents.ppo import PPOConfig
from pareto.agents.selecting import Known
from pareto.objectives import Objectives

POINTS = np.array([[0.0, 9.0], [5.0, 5.0], [9.0, 1.0]])
# w.G: (1, 0): 9 of the third; (.5, .5): 5 of the second and third, the first of equals; (.9, .1): 8.2 of the third; (0, 1): the first
WEIGHTS = np.array([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1], [0.0, 1.0]])


def known():
    return Known(
        Objectives(["a", "b"]), POINTS, np.ones(2), np.array([-1.0, -1.0]), np.ones(2), {}, weights=WEIGHTS
    )


@pytest.mark.parametrize(("n", "starts"), [(1, [2]), (2, [2, 1]), (9, [2, 1, 0])])
def test_the_best_for_the_weights_go_on_each_once(n, starts):
    plan = Course(steps=100, n=n).plan(known())
    assert plan.starts.tolist() == starts
    np.testing.assert_array_equal(plan.anchors, POINTS[starts])
    np.testing.assert_array_equal(plan.weights, WEIGHTS[[0, 1, 3]][:n])
    again = Round.from_json(plan.to_json())
    np.testing.assert_array_equal(again.weights, plan.weights)
    np.testing.assert_array_equal(again.ref_point, [-1, -1])


def test_a_policy_without_finished_episodes_goes_last():
    unfinished = replace(known(), points=np.array([[np.nan, np.nan], [0.0, -5.0], [-9.0, -9.0]]))
    plan = Course(steps=100).plan(unfinished)
    assert plan.starts.tolist() == [1]
    none = replace(known(), points=np.full((2, 2), np.nan))
    assert np.isfinite(Course(steps=100).plan(none).anchors).all()


def test_a_weighted_sum_of_ones_own():
    plan = Course(steps=100, n=2, weights={"a": 3, "b": 1}).plan(known())
    assert plan.starts.tolist() == [2, 1]  # still those that are best for the study's weights
    np.testing.assert_allclose(plan.weights, [[3, 1], [3, 1]])
    aim = Course(steps=100, weights={"a": 3, "b": 1}).aim(plan)
    assert isinstance(aim, Weighted)
    np.testing.assert_allclose(aim.coefficients(torch.zeros(2, 2)), plan.weights)


def test_a_course_has_its_own_pace():
    course = Course(steps=1000, ppo=PPOConfig(lr=0.5))
    assert course.learning(PPOConfig()).lr == 0.5
    assert [course.iterations(7, each) for each in (300, 1000, 4000)] == [3, 1, 1]


def test_a_box_is_climbed_along_the_gradient_of_its_logarithm():
    ref, at = np.array([-1.0, -1.0]), np.array([[9.0, 1.0], [0.0, 9.0]])
    aim = Course(steps=1, climbs="box").aim(Course(steps=1, climbs="box", n=9).plan(known()))
    assert isinstance(aim, Box)
    aim = Box(at, ref)

    def log_volume(g):
        return np.log(np.prod(g - ref, axis=1))

    for shift in (np.zeros(2), np.array([1.5, 0.5])):  # where it starts, and after new returns
        here, step = at + shift, 1e-5
        if shift.any():
            aim.measured(here, np.ones(2))
        slopes = [(log_volume(here + e) - log_volume(here - e)) / (2 * step) for e in step * np.eye(2)]
        np.testing.assert_allclose(aim.coefficients(torch.zeros(2, 2)), np.column_stack(slopes), rtol=1e-4)
    before = aim.coefficients(torch.zeros(2, 2)).clone()
    aim.measured(np.full((2, 2), np.nan), np.ones(2))  # nothing new
    other = Box(at, ref)
    other.load(aim.state())
    assert torch.equal(aim.coefficients(torch.zeros(2, 2)), before)
    assert torch.equal(other.coefficients(torch.zeros(2, 2)), before)


def test_below_the_reference_point_slopes_stay_finite_and_positive():
    aim = Box(np.array([[3.0, 1.0]]), np.array([-1.0, -1.0]))
    aim.measured(np.array([[-50.0, -1.0]]), np.ones(1))
    # a hundredth of the anchor's distances 4 and 2
    np.testing.assert_allclose(aim.coefficients(torch.zeros(1, 2)), [[25.0, 50.0]])
