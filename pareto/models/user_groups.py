"""Hidden groups of users, found from what they chose: a mixture of Bradley-Terry rewards, one component a group.

Users h belong to hidden groups u. Within a group the chosen response wins with probability

    p_u(chosen over rejected) = sigmoid(theta_u . d),    d = phi(chosen) - phi(rejected),

so that the likelihood of a user is a product over all of the user's pairs, and expectation-maximisation assigns users, never
single pairs. All groups share the features phi and differ by a head theta_u alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from pareto import rng
from pareto.config import Config
from pareto.errors import DataError, ShapeError

FIRST_ROUNDS = 6
"""Rounds after which the starts of a new group are compared."""


class UserMixture(Config):
    """How groups of users are found.

    Args:
        assignment: "soft" weighs every user by the posterior over groups, with their shares as the prior; "hard" gives every
            user to the group with the largest likelihood.
        groups: how many; None chooses the number on users left out of the fit.
        max_groups: largest number that is tried.
        folds: parts of the users, each left out once.
        ridge: strength of the quadratic penalty on heads, in units of standardised features.
        iterations: most rounds of expectation and maximisation.
        tolerance: rounds end once the mean log-likelihood of a user rises by less, nats.
        least_users: a group that holds fewer is empty and goes.

    Source: Chakraborty et al. (2024), arXiv 2402.08925, Algorithm 2, is "hard" with a given number; "soft" is Park et al.
    (2024), arXiv 2405.00254, and EM-DPO, arXiv 2405.15065, from memory. Numbers are this suite's.
    """

    assignment: Literal["hard", "soft"] = "soft"
    groups: int | None = Field(default=None, ge=1, le=64)
    max_groups: int = Field(default=4, ge=1, le=64)
    folds: int = Field(default=5, ge=2)
    ridge: float = Field(default=1.0, gt=0)
    iterations: int = Field(default=100, ge=1)
    tolerance: float = Field(default=1e-4, gt=0)
    least_users: float = Field(default=1.0, gt=0)


@dataclass(frozen=True)
class UserChoices:
    """Pairs that users decided.

    Args:
        differences: [n, F] float64, features of the chosen response minus those of the rejected one.
        user: [n] int64 in 0..n_users - 1.
        n_users: H.
    """

    differences: np.ndarray
    user: np.ndarray
    n_users: int

    def __post_init__(self) -> None:
        if self.differences.ndim != 2 or len(self.differences) != len(self.user):
            raise ShapeError(
                f"a row of features is needed for each of {len(self.user)} choices; got {self.differences.shape}"
            )
        if not len(self.user):
            raise DataError("no user chose anything")

    def of(self, users: np.ndarray) -> UserChoices:
        """The choices of some users, renumbered.

        Args:
            users: [H] bool.
        """
        rows, number = users[self.user], np.cumsum(users) - 1
        return UserChoices(self.differences[rows], number[self.user[rows]], int(users.sum()))

    def loglik(self, heads: np.ndarray) -> np.ndarray:
        """[H, K] log-likelihood of every user under every head [K, F], nats; finite however large the rewards are."""
        each = -np.logaddexp(0.0, -self.differences @ heads.T)
        return np.stack([np.bincount(self.user, each[:, u], self.n_users) for u in range(len(heads))], axis=1)


@dataclass(frozen=True)
class UserGroups:
    """Groups that were found, the largest first.

    Args:
        heads: [K, F] reward of every group, in log-odds.
        prior: [K] share of the users.
        responsibilities: [H, K] probability that a user belongs to a group; zeros and ones where assignment is hard.
        loglik: mean log-likelihood of a user after every round, nats.
        emptied: groups that lost all users on the way.
    """

    heads: np.ndarray
    prior: np.ndarray
    responsibilities: np.ndarray
    loglik: tuple[float, ...]
    emptied: int = 0

    def __len__(self) -> int:
        return len(self.heads)

    @property
    def assigned(self) -> np.ndarray:
        """[H] int64, the likeliest group of every user."""
        return self.responsibilities.argmax(axis=1)

    def posterior(self, choices: UserChoices) -> np.ndarray:
        """[H, K] probability of every group for users who may not have been there before."""
        return posterior(choices.loglik(self.heads), self.prior)[0]

    def evidence(self, choices: UserChoices) -> np.ndarray:
        """[H] log-likelihood of users under the mixture, nats."""
        return posterior(choices.loglik(self.heads), self.prior)[1]


@dataclass(frozen=True)
class Tried:
    """A number of groups, judged on users who were left out.

    Args:
        groups: how many.
        loglik: mean log-likelihood of a left-out user, nats.
        gain: by how much it is above that of one group fewer.
        gain_se: standard error of the gain, from the same users.
    """

    groups: int
    loglik: float
    gain: float
    gain_se: float

    @property
    def pays(self) -> bool:
        """Whether the last group is more than noise."""
        return self.gain > 2.0 * self.gain_se


def find_groups(choices: UserChoices, config: UserMixture, *, seed: int) -> tuple[UserGroups, list[Tried]]:
    """Find groups, and how many there are where the config does not say.

    The number grows as long as one more group makes users who were left out likelier, by more than twice the standard error
    of the gain.

    Args:
        choices: of all users.
        config: how.
        seed: of the parts that are left out in turn.

    Returns:
        The groups, and the numbers that were tried; none where the number was given.
    """
    if config.groups is not None:
        tried, n = [], config.groups
    else:
        tried = try_numbers(choices, config, seed=seed)
        n = max(row.groups for row in tried if row.groups == 1 or row.pays)
    groups = None
    for _ in range(n):
        groups = grown(choices, config, groups)
    assert groups is not None
    return groups, tried


def try_numbers(choices: UserChoices, config: UserMixture, *, seed: int) -> list[Tried]:
    """Log-likelihood of left-out users for 1, 2, ... groups, up to the first number that brings nothing.

    Raises:
        DataError: fewer users than folds.
    """
    h = choices.n_users
    if h < config.folds:
        raise DataError(
            f"{config.folds} folds need at least as many users; got {h}; set groups or fewer folds"
        )
    fold = rng.generator("user groups", seed).permutation(h) % config.folds
    kept, left = (
        [choices.of(side(fold, f)) for f in range(config.folds)] for side in (np.not_equal, np.equal)
    )
    fits: list[UserGroups | None] = [None] * config.folds
    found: list[Tried] = []
    before = np.zeros(h)
    for k in range(1, config.max_groups + 1):
        evidence = np.zeros(h)
        for f in range(config.folds):
            fits[f] = own = grown(kept[f], config, fits[f])
            evidence[fold == f] = own.evidence(left[f])
        gain = evidence - before
        error = float(gain.std(ddof=1) / np.sqrt(h)) if h > 1 else 0.0
        found.append(
            Tried(k, float(evidence.mean()), float(gain.mean()) if k > 1 else 0.0, error if k > 1 else 0.0)
        )
        if k > 1 and not found[-1].pays:
            break
        before = evidence
    return found


def grown(choices: UserChoices, config: UserMixture, groups: UserGroups | None) -> UserGroups:
    """One group more than before, or the same groups where a new one empties; a single group where there was none.

    A new group begins as part of an old one: the users whose choices pull its head to one side of the direction in which
    users disagree most. Of all groups that may be split the best outcome stays.
    """
    if groups is None:
        return expectation_maximisation(choices, config, np.ones((choices.n_users, 1)))
    tries = [
        expectation_maximisation(choices, config, start, groups.heads, rounds=FIRST_ROUNDS)
        for u in range(len(groups))
        for start in _splits(choices, groups, u, config.ridge)
    ]
    whole = [t for t in tries if len(t) > len(groups)]
    if not whole:
        return groups
    best = max(whole, key=lambda t: t.loglik[-1])
    final = expectation_maximisation(choices, config, best.responsibilities, best.heads)
    return final if len(final) > len(groups) else groups


def expectation_maximisation(
    choices: UserChoices,
    config: UserMixture,
    start: np.ndarray,
    heads: np.ndarray | None = None,
    *,
    rounds: int | None = None,
) -> UserGroups:
    """Alternate between heads given users and users given heads.

    Args:
        choices: of H users.
        config: how.
        start: [H, K] responsibilities to begin with.
        heads: [K', F] first values of the first heads; zeros where there are none.
        rounds: at most so many; None takes what the config allows.

    Returns:
        The groups; fewer than K where some emptied.
    """
    n_features = choices.differences.shape[1]
    k = start.shape[1]
    theta = np.zeros((k, n_features))
    if heads is not None:
        theta[: len(heads)] = heads[:k]
    gamma, trace, emptied = start, [], 0
    for _ in range(rounds or config.iterations):
        full = gamma.sum(axis=0) >= config.least_users
        if not full.all() and full.any():
            emptied += int((~full).sum())
            gamma, theta = gamma[:, full], theta[full]
            gamma = gamma / np.maximum(gamma.sum(axis=1, keepdims=True), 1e-300)
        prior = gamma.mean(axis=0)
        prior = prior / prior.sum()
        theta = np.stack(
            [
                fit_head(choices.differences, gamma[choices.user, u], config.ridge, t, steps=2)
                for u, t in enumerate(theta)
            ]
        )
        gamma, evidence = posterior(choices.loglik(theta), prior)
        if config.assignment == "hard":
            gamma = np.eye(len(theta))[choices.loglik(theta).argmax(axis=1)]
        trace.append(float(evidence.mean()))
        if len(trace) > 1 and abs(trace[-1] - trace[-2]) < config.tolerance:
            break
    order = np.argsort(-gamma.mean(axis=0), kind="stable")
    return UserGroups(theta[order], prior[order], gamma[:, order], tuple(trace), emptied)


def posterior(loglik: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[H, K] probability of every group given a user's choices, and [H] their log-likelihood, nats.

    Sums of exponentials are taken after the largest term is out of them, so that thousands of nats stay finite.

    Args:
        loglik: [H, K] nats.
        prior: [K] on the simplex; zeros are allowed.
    """
    with np.errstate(divide="ignore"):
        joint = loglik + np.log(prior)
    evidence = np.logaddexp.reduce(joint, axis=1)
    return np.exp(joint - evidence[:, None]), evidence


def fit_head(
    differences: np.ndarray, weight: np.ndarray, ridge: float, start: np.ndarray, *, steps: int = 50
) -> np.ndarray:
    """The head that maximises  sum_i weight_i log sigmoid(theta . d_i) - ridge / 2 |theta|^2, by Newton's method.

    Args:
        differences: [n, F].
        weight: [n] >= 0.
        ridge: > 0, so that there is one maximum, also where all choices can be told apart.
        start: [F].
        steps: at most so many; every one raises the sum.
    """
    rows = weight > 1e-9
    x, w, theta = differences[rows], weight[rows], start

    def value(margin: np.ndarray, t: np.ndarray) -> float:
        return float(-(w @ np.logaddexp(0.0, -margin)) - 0.5 * ridge * t @ t)

    margin = x @ theta
    now = value(margin, theta)
    for _ in range(steps):
        p = _sigmoid(-margin)
        gradient = x.T @ (w * p) - ridge * theta
        hessian = (x * (w * p * (1.0 - p))[:, None]).T @ x + ridge * np.eye(len(theta))
        step, length = np.linalg.solve(hessian, gradient), 1.0
        if gradient @ step < 1e-9 * (1.0 + abs(now)):  # what a full step could gain, twice
            break
        along = x @ step
        while (new := value(margin + length * along, theta + length * step)) < now and length > 1e-6:
            length *= 0.5
        theta, margin, now = theta + length * step, margin + length * along, new
    return theta


def _splits(choices: UserChoices, groups: UserGroups, u: int, ridge: float) -> Sequence[np.ndarray]:
    """Starts with group u parted along the direction in which its users disagree most: in two halves, or a tail cut off."""
    x, head, mine = choices.differences, groups.heads[u], groups.responsibilities[:, u]
    p = _sigmoid(-x @ head)
    information = (x * (mine[choices.user] * p * (1.0 - p))[:, None]).T @ x + ridge * np.eye(x.shape[1])
    pulls = np.zeros((choices.n_users, x.shape[1]))
    np.add.at(pulls, choices.user, x * p[:, None])
    whitened = np.linalg.solve(np.linalg.cholesky(information), pulls.T).T * np.sqrt(mine)[:, None]
    along = whitened @ np.linalg.svd(whitened, full_matrices=False)[2][0]
    spread = along.std()
    parts = (along > 0.0, along > spread, along < -spread)
    return [_parted(groups.responsibilities, u, part) for part in parts if (mine * part).sum() >= 1.0]


def _parted(gamma: np.ndarray, u: int, leaving: np.ndarray) -> np.ndarray:
    """Responsibilities in which the users that leave group u fill a new last group."""
    moved = np.where(leaving, gamma[:, u], 0.0)
    rest = gamma.copy()
    rest[:, u] -= moved
    return np.column_stack([rest, moved])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
