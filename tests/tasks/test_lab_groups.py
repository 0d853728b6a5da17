"""What the lab says of groups: cares by hand, utilities by sums, and the game's optimum from its own definition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pareto.tasks.lab import Lab, exact
from pareto.tasks.lab.groups import care, exact_max_min, group_figures, group_rewards, prompt_optimum
from tests.lab_fixtures import SMALL


@pytest.fixture(scope="module")
def world():
    return Lab(**SMALL, groups=2, users=20).world


def test_care_is_taste_times_importance(world):
    """(0.8, 0.2) * (0.25, 0.75) = (0.2, 0.15): 4/7 and 3/7."""
    tastes, importance = np.array([[0.8, 0.2]]), np.tile([0.25, 0.75], (world.n_prompts, 1))
    found = care(replace(world, tastes=tastes, importance=importance), np.arange(3))
    np.testing.assert_allclose(found, np.tile([4 / 7, 3 / 7], (1, 3, 1)))


def test_figures_are_expectations(world):
    prompts = world.split("heldout")
    draw = np.random.default_rng(0)
    logps, ref = (np.log(draw.dirichlet(np.ones(27), len(prompts))) for _ in range(2))
    rewards = group_rewards(world, prompts)
    figures = group_figures(world, prompts, logps, ref)
    for g in range(2):
        per_prompt = [(np.exp(logps[i]) * rewards[g, i]).sum() for i in range(len(prompts))]
        before = [(np.exp(ref[i]) * rewards[g, i]).sum() for i in range(len(prompts))]
        own = figures[f"group {g}"]
        assert own["utility"] == pytest.approx(np.mean(per_prompt))
        assert own["gain"] == pytest.approx(np.mean(per_prompt) - np.mean(before))
        assert own["low"] < own["utility"] < own["high"]


def test_the_game_is_the_policy_of_its_weights(world):
    """Its utilities are those of ref exp(w.r / beta), and no other weights of the groups give the worst one more value."""
    prompts = world.split("selection")
    ref = world.corpus_logps(prompts)
    rewards = group_rewards(world, prompts)
    game = exact_max_min(world, prompts, ref, 0.7)

    def play(w: np.ndarray) -> tuple[np.ndarray, float]:
        pi = exact.tilt(ref, np.tensordot(w, rewards, 1) / 0.7)
        utilities = np.einsum("py,gpy->g", np.exp(pi), rewards) / len(prompts)
        return utilities, utilities.min() - 0.7 * exact.kl(pi, ref).mean()

    utilities, value = play(game.weights)
    np.testing.assert_allclose(utilities, game.utilities, atol=1e-9)
    assert value == pytest.approx(game.value, abs=1e-9)
    others = [play(np.array([w, 1 - w]))[1] for w in np.linspace(0, 1, 51)]
    assert max(others) <= game.value + 1e-4


def test_weights_of_a_prompts_own(world):
    prompts, draw = np.arange(3), np.random.default_rng(0)
    ref, w = world.corpus_logps(prompts), draw.dirichlet(np.ones(2), 3)
    found = prompt_optimum(world, prompts, ref, w, 0.5)
    for i in range(3):
        alone = exact.optimum(ref[i : i + 1], world.rewards()[:, i : i + 1], w[i], 0.5)
        np.testing.assert_allclose(found[i], alone[0])
