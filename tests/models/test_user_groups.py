"""Groups of users: the E-step by hand, the M-step against another solver, planted groups found again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from pareto.errors import DataError, ShapeError
from pareto.models.user_groups import (
    UserChoices,
    UserMixture,
    expectation_maximisation,
    find_groups,
    fit_head,
    posterior,
    try_numbers,
)

TASTES = np.array([[0.95, 0.05], [0.1, 0.9], [-0.6, -0.6]])


def planted(counts: tuple[int, ...], pairs: int = 20, seed: int = 0) -> tuple[UserChoices, np.ndarray]:
    """Users of some groups who choose by Bradley-Terry under their taste; and the group of each."""
    draw = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(counts)), counts)
    user = np.repeat(np.arange(len(group)), pairs)
    gap = 3.0 * draw.standard_normal((len(user), 2))
    utility = (gap * TASTES[group[user]]).sum(1)
    won = np.where(draw.random(len(user)) < 1.0 / (1.0 + np.exp(-utility)), 1.0, -1.0)
    return UserChoices(gap * won[:, None], user, len(group)), group


def test_posterior_by_hand():
    """(1/4) 0.2 = 0.05 and (3/4) 0.1 = 0.075: 0.4 and 0.6 of 0.125."""
    gamma, evidence = posterior(np.log([[0.2, 0.1]]), np.array([0.25, 0.75]))
    np.testing.assert_allclose(gamma, [[0.4, 0.6]])
    assert evidence[0] == pytest.approx(np.log(0.125))


def test_posterior_of_thousands_of_nats_is_finite():
    """exp(-1e5) is 0 in any float; the odds exp(-1e5 + 1e5 + 1) are not."""
    gamma, evidence = posterior(np.array([[-1e5, -1e5 - 1.0], [-3e5, -1.0]]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(gamma[0], [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], rtol=1e-9)
    np.testing.assert_allclose(gamma[1], [0.0, 1.0])
    assert np.isfinite(evidence).all()


def test_likelihoods_of_huge_rewards_are_finite():
    choices = UserChoices(np.array([[500.0], [-500.0]]), np.array([0, 1]), 2)
    np.testing.assert_allclose(choices.loglik(np.array([[2.0]])), [[0.0], [-1000.0]])


def test_a_users_likelihood_is_the_product_over_the_users_pairs():
    """sigmoid(0) twice for user 1, sigmoid(ln 3) = 3/4 for user 0."""
    choices = UserChoices(np.array([[0.0], [np.log(3.0)], [0.0]]), np.array([1, 0, 1]), 2)
    np.testing.assert_allclose(np.exp(choices.loglik(np.ones((1, 1)))), [[0.75], [0.25]])


def test_the_head_is_what_another_solver_finds():
    draw = np.random.default_rng(0)
    x, weight = draw.standard_normal((200, 3)) + 0.3, draw.random(200)

    def loss(t: np.ndarray) -> float:
        return float(weight @ np.log1p(np.exp(-x @ t)) + 0.35 * t @ t)

    other = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    np.testing.assert_allclose(fit_head(x, weight, 0.7, np.zeros(3)), other, atol=1e-5)
    np.testing.assert_allclose(fit_head(x, weight, 0.7, np.array([5.0, -9.0, 3.0])), other, atol=1e-5)


def test_choices_that_can_be_told_apart_have_a_finite_head():
    head = fit_head(np.ones((50, 1)), np.ones(50), 1.0, np.zeros(1))
    # stationary: 50 sigmoid(-t) = t
    assert 50.0 / (1.0 + np.exp(head[0])) == pytest.approx(head[0], abs=1e-6)


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_ten_to_one_is_found_again(assignment: str):
    choices, group = planted((300, 30))
    found, tried = find_groups(choices, UserMixture(assignment=assignment), seed=0)
    assert len(found) == 2
    assert [t.groups for t in tried] == [1, 2, 3]
    bayes = posterior(choices.loglik(TASTES[:2]), np.array([10, 1]) / 11)[0].argmax(1)
    accuracy, best = (found.assigned == group).mean(), (bayes == group).mean()
    assert accuracy >= min(0.97, best - 0.01)
    np.testing.assert_allclose(found.heads, TASTES[:2], atol=0.2)
    np.testing.assert_allclose(found.prior, [10 / 11, 1 / 11], atol=0.02)
    assert (np.diff(found.loglik) > -1e-6).all() or assignment == "hard"


@pytest.mark.parametrize("counts", [(200,), (120, 60, 60)])
def test_as_many_groups_as_there_are(counts: tuple[int, ...]):
    choices, group = planted(counts)
    found, _ = find_groups(choices, UserMixture(), seed=1)
    assert len(found) == len(counts)
    # groups of equal size come in any order
    hits = max((found.assigned == np.array(p)[group]).mean() for p in ([0, 1, 2], [0, 2, 1]))
    assert hits > 0.95


def test_a_given_number_is_kept_and_nothing_is_tried():
    choices, _ = planted((60, 30))
    found, tried = find_groups(choices, UserMixture(groups=3), seed=0)
    assert (len(found), tried) == (3, [])


def test_an_empty_group_goes():
    """The third of three groups starts without a user."""
    choices, group = planted((60, 30))
    start = np.eye(3)[group]
    found = expectation_maximisation(choices, UserMixture(assignment="hard"), start)
    assert (len(found), found.emptied) == (2, 1)
    assert (found.assigned == group).mean() > 0.95
    np.testing.assert_allclose(found.responsibilities.sum(1), 1.0)


def test_the_order_of_users_does_not_matter():
    choices, _ = planted((60, 30))
    turn = np.random.default_rng(0).permutation(90)
    turned = UserChoices(choices.differences, turn[choices.user], 90)
    one, other = (find_groups(c, UserMixture(groups=2), seed=0)[0] for c in (choices, turned))
    np.testing.assert_allclose(one.heads, other.heads, atol=1e-6)
    assert (one.assigned == other.assigned[turn]).all()


def test_users_who_were_not_there_are_assigned():
    choices, _ = planted((120, 60))
    found, _ = find_groups(choices, UserMixture(groups=2), seed=0)
    others, group = planted((40, 20), seed=5)
    assert (found.posterior(others).argmax(1) == group).mean() > 0.9
    # two users with half the pairs each are as likely as one with all of them is, under one head
    assert found.evidence(others).shape == (60,)


def test_what_cannot_be_is_refused():
    choices, _ = planted((3,))
    with pytest.raises(DataError, match="5 folds need at least as many users; got 3"):
        try_numbers(choices, UserMixture(), seed=0)
    with pytest.raises(ShapeError, match="row of features is needed for each of 2"):
        UserChoices(np.zeros((3, 1)), np.zeros(2, int), 1)
    with pytest.raises(DataError, match="no user chose"):
        UserChoices(np.zeros((0, 1)), np.zeros(0, int), 0)
