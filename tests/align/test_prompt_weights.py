"""Targets of an orchestrator by hand, and planted weights recovered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.align.prompt_weights import (
    AdvantageTarget,
    LikelihoodTarget,
    OrchestratorFit,
    RewardTarget,
    fit_orchestrator,
    judged_pairs,
    softmax,
    temperature_at_entropy,
)
from pareto.errors import DataError

REWARDS = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 4.0], [3.0, 0.0], [np.nan, 0.0]])
PROMPT_OF = np.array([0, 0, 1, 1, 1])


def pairs():
    """Prompt 0: response 1 over 0; prompt 1: response 2 over 3, and over 4, whose reward is unknown."""
    return judged_pairs(
        PROMPT_OF, np.array([1, 2, 2]), np.array([0, 3, 4]), REWARDS, np.zeros((2, 3), np.float32)
    )


def test_pairs_by_hand():
    """Levels (2, 0) and (4, 2); means (3, 1); spreads sqrt(8/4) = 1.414 and sqrt(12/4) = 1.732."""
    found = pairs()
    assert found.prompt.tolist() == [0, 1]
    np.testing.assert_allclose(found.level, [[2.0, 0.0], [4.0, 2.0]])
    np.testing.assert_allclose(found.mean, [3.0, 1.0])
    np.testing.assert_allclose(found.spread, [2**0.5, 3**0.5])
    with pytest.raises(DataError, match="none of 1 decided pairs"):
        judged_pairs(PROMPT_OF, np.array([4]), np.array([2]), REWARDS, np.zeros((2, 3), np.float32))


def test_targets_by_hand():
    """Standard scores of response 1: (0, -1/sqrt 3); above its prompt's level: (1/sqrt 2, 0)."""
    np.testing.assert_allclose(RewardTarget().normalised(pairs())[0], [0.0, -(3**-0.5)])
    np.testing.assert_allclose(AdvantageTarget().normalised(pairs())[0], [2**-0.5, 0.0])
    (target,) = RewardTarget(tau=0.5).prepare(pairs())
    np.testing.assert_allclose(target[0], softmax(np.array([0.0, -2 * 3**-0.5])), rtol=1e-6)


def test_the_likelihood_by_hand():
    """g = (1/4, 3/4), differences (2, 0): -log sigmoid(kappa / 2) at kappa 2."""
    (gap,) = LikelihoodTarget().prepare(pairs())
    assert gap[0].tolist() == [2.0, 0.0]
    loss = LikelihoodTarget().loss(torch.tensor([[0.25, 0.75]]).log(), torch.tensor(2.0).log(), (gap[:1],))
    assert float(loss) == pytest.approx(np.log1p(np.exp(-1.0)), rel=1e-6)


@pytest.mark.parametrize(("m", "entropy"), [(2, 0.5), (3, 0.5 + 1 / 3)])
def test_the_temperature_gives_the_entropy_of_even_weights(m: int, entropy: float):
    """And that entropy is what draws from Dirichlet(1) have."""
    draw = np.random.default_rng(0)
    scores = draw.standard_normal((2000, m))

    def mean_entropy(w: np.ndarray) -> float:
        return float(-(w * np.log(w)).sum(1).mean())

    assert mean_entropy(softmax(scores / temperature_at_entropy(scores))) == pytest.approx(entropy, abs=1e-6)
    assert mean_entropy(draw.dirichlet(np.ones(m), 20_000)) == pytest.approx(entropy, abs=0.01)


@pytest.fixture(scope="module")
def planted():
    """40 prompts whose weights are softmax(A x) for features x, and 200 Bradley-Terry choices each at kappa 2."""
    draw = np.random.default_rng(0)
    features = draw.standard_normal((60, 4)).astype(np.float32)
    truth = softmax(features @ draw.standard_normal((4, 2)))
    prompt = np.repeat(np.arange(40), 200)
    rewards = 2.0 * draw.standard_normal((2 * len(prompt), 2))
    a, b = np.arange(len(prompt)) * 2, np.arange(len(prompt)) * 2 + 1
    odds = 2.0 * ((rewards[a] - rewards[b]) * truth[prompt]).sum(1)
    first = draw.random(len(prompt)) < 1 / (1 + np.exp(-odds))
    chosen, rejected = np.where(first, a, b), np.where(first, b, a)
    return judged_pairs(np.repeat(prompt, 2), chosen, rejected, rewards, features), truth


def test_the_likelihood_recovers_planted_weights_of_unseen_prompts(planted):
    own, truth = planted
    found = fit_orchestrator(own, LikelihoodTarget(), OrchestratorFit(), seed=0)
    error = np.abs(found.model.weights(own.features) - truth)
    assert error[40:].mean() < 0.05
    assert found.kappa == pytest.approx(2.0, rel=0.1)
    assert found.validation[1] < found.validation[0]


def test_the_papers_target_goes_the_right_way_and_shrinks(planted):
    own, truth = planted
    found = fit_orchestrator(own, RewardTarget(), OrchestratorFit(), seed=0).model.weights(own.features)
    assert np.corrcoef(found[:40, 0], truth[:40, 0])[0, 1] > 0.8
    assert np.ptp(found[:40, 0]) < 0.7 * np.ptp(truth[:40, 0])


def test_the_same_seed_gives_the_same_weights(planted):
    own, _ = planted
    few = OrchestratorFit(steps=30, batch_size=500)
    one, other = (fit_orchestrator(own, LikelihoodTarget(), few, seed=3).model for _ in range(2))
    np.testing.assert_array_equal(one.weights(own.features), other.weights(own.features))


def test_one_prompt_is_too_few():
    alone = judged_pairs(
        np.zeros(2, int), np.array([0]), np.array([1]), REWARDS[:2], np.zeros((1, 3), np.float32)
    )
    with pytest.raises(DataError, match="at least two prompts"):
        fit_orchestrator(alone, LikelihoodTarget(), OrchestratorFit(), seed=0)
