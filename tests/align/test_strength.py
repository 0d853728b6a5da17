"""Schedules of beta along a front: KL in closed form, and fronts whose points are equally far away."""

from __future__ import annotations

import numpy as np
import pytest

from pareto import rng
from pareto.align.strength import advantages, scheduled_beta, tilted_kl
from pareto.errors import NumericsError
from pareto.tasks.lab import Lab, exact


def test_kl_of_a_tilted_pair_by_hand():
    """Responses worth 1 and -1, equally likely, beta 1: pi* is sigmoid(2) and its rest; KL = log 2 - entropy."""
    p = 1 / (1 + np.exp(-2.0))
    want = np.log(2) + p * np.log(p) + (1 - p) * np.log(1 - p)
    assert tilted_kl(np.array([1.0, -1.0]), 1.0) == pytest.approx(want)
    assert tilted_kl(np.zeros(4), 0.3) == 0.0
    assert tilted_kl(np.array([1e4, -1e4]), 0.01) == pytest.approx(np.log(2))  # nothing overflows


def test_a_gaussian_reward_has_half_its_variance():
    """x ~ N(0, s^2) tilts to N(s^2, s^2): KL s^2 / 2."""
    x = 0.8 * rng.generator("test", 0).standard_normal(400_000)
    assert tilted_kl(x, 1.0) == pytest.approx(0.32, abs=0.01)
    assert tilted_kl(x, 2.0) == pytest.approx(0.08, abs=0.005)


def test_advantages_by_hand():
    """Response 0 was drawn twice, 1 once: their mean is (2 * 4 + 1) / 3 = 3. Response 3 is unknown under one objective."""
    rewards = np.array([[4.0, 0], [1, 0], [5, 5], [7, np.nan]])
    found = advantages(rewards, np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2, 3]))
    assert found.tolist() == [[1, 0], [-2, 0], [1, 0], [0, 0]]


def test_schedules():
    w = np.array([0.6, 0.4])
    assert scheduled_beta("constant", 0.5, w) == 0.5
    assert scheduled_beta("trained_weight", 0.5, w) == pytest.approx(0.3)
    for name in ("constant", "trained_weight", "equal_kl"):
        assert scheduled_beta(name, 0.5, np.array([0.0, 1.0])) == 0.5
    # opposite objectives at equal weights leave nothing to be different about
    x = rng.generator("test", 1).standard_normal(100)
    with pytest.raises(NumericsError, match="weighted rewards constant"):
        scheduled_beta("equal_kl", 1.0, np.array([0.5, 0.5]), np.column_stack([x, -x]))
    with pytest.raises(NumericsError, match="there are none"):
        scheduled_beta("equal_kl", 1.0, w)


def test_independent_gaussians_at_equal_weights_get_beta_by_the_root_of_two():
    """w.x has variance 1/2 of each: KL 1 / (4 beta^2) equals the corners' 1/2 at beta 1 / sqrt(2)."""
    x = rng.generator("test", 2).standard_normal((400_000, 2))
    found = scheduled_beta("equal_kl", 1.0, np.array([0.5, 0.5]), x)
    assert found == pytest.approx(0.5**0.5, rel=0.02)


def test_on_the_lab_exact_optima_are_then_equally_far(small_lab: Lab):
    prompts = small_lab.world.split("selection")
    ref, rewards = small_lab.world.corpus_logps(prompts), small_lab.world.rewards()[:, prompts]
    draw = rng.generator("test", 3)
    cells = [
        (p, draw.choice(ref.shape[1], p=np.exp(ref[p]))) for p in draw.integers(len(prompts), size=20_000)
    ]
    prompt, reply = np.array(cells).T
    drawn = advantages(rewards[:, prompt, reply].T, prompt, np.arange(len(prompt)))
    beta = 2.0

    def distance(w: np.ndarray, own: float) -> float:
        return float(exact.kl(exact.optimum(ref, rewards, w, own), ref).mean())

    corners = np.mean([distance(np.eye(2)[j], beta) for j in range(2)])
    middle = np.array([0.5, 0.5])
    scheduled = scheduled_beta("equal_kl", beta, middle, drawn)
    assert distance(middle, beta) < 0.8 * corners
    assert distance(middle, scheduled) == pytest.approx(corners, rel=0.15)
