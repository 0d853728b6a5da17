"""The policy that serves the worst-off group best, solved on samples or on an enumeration of the reference.

    max_pi min_u E[r_u] - beta KL(pi || ref)  =  min_w max_pi E[w.r] - beta KL  =  min_w beta E_x log E_ref exp(w.r / beta)

over weights w of the groups on the simplex. The inner optimum is ref exp(w.r / beta) / Z, so the game is a convex problem in
as many unknowns as there are groups, and mirror steps on its gradient, the expected utility of every group under the optimum,
solve it without training anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pareto.errors import NumericsError, ShapeError


@dataclass(frozen=True)
class Draws:
    """Responses that stand for the reference.

    Args:
        prompt: [n] int64 in ascending order, which prompt each response answers; every prompt counts alike.
        logp: [n] nats, log-weight of a response within its prompt: log ref(y | x) for an enumeration, zeros for samples.
    """

    prompt: np.ndarray
    logp: np.ndarray

    def __post_init__(self) -> None:
        if self.prompt.shape != self.logp.shape or not len(self.prompt) or (np.diff(self.prompt) < 0).any():
            raise ShapeError(
                f"draws need a prompt and a log-weight each, prompts ascending; got {self.prompt.shape} and {self.logp.shape}"
            )

    @property
    def starts(self) -> np.ndarray:
        """[P] int64, where each prompt's responses begin."""
        return np.flatnonzero(np.r_[True, np.diff(self.prompt) > 0])

    def tilted(self, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities within prompts after multiplying by exp(by), and the log of what normalises them.

        Args:
            by: [n].

        Returns:
            [n] probabilities that sum to 1 within every prompt, and [P] log E_ref exp(by), nats.
        """
        starts, counts = self.starts, np.diff(np.r_[self.starts, len(self.prompt)])
        base, raised = (_log_sums(x, starts, counts) for x in (self.logp, self.logp + by))
        return np.exp(self.logp + by - np.repeat(raised, counts)), raised - base

    def mean(self, values: np.ndarray, p: np.ndarray) -> np.ndarray:
        """[K] mean over prompts of expectations of values [n, K] under probabilities [n]."""
        return np.add.reduceat(values * p[:, None], self.starts, axis=0).mean(axis=0)


@dataclass(frozen=True)
class MaxMin:
    """A solved game.

    Args:
        weights: [K] of the groups; those whose utility is not the smallest have none.
        utilities: [K] expected utility of every group under the optimum.
        kl_nats: its divergence from the reference.
        value: smallest utility less beta times the divergence.
        gap: by how much the value could still be larger, at most.
        rounds: mirror steps.
    """

    weights: np.ndarray
    utilities: np.ndarray
    kl_nats: float
    value: float
    gap: float
    rounds: int


def max_min(
    rewards: np.ndarray, draws: Draws, beta: float, *, tolerance: float = 1e-5, most_rounds: int = 5000
) -> MaxMin:
    """Solve the game by mirror steps w <- w exp(-eta utilities) / Z, with eta found by backtracking.

    Args:
        rewards: [n, K] reward of every draw for every group, on one scale.
        draws: of the reference.
        beta: > 0.
        tolerance: the duality gap at which the steps end.
        most_rounds: and their largest number.

    Raises:
        NumericsError: rewards that are not finite.

    Source: Chakraborty et al. (2024), arXiv 2402.08925, Algorithm 1 picks the worst group by its expected utility in every
    round; weights that move by mirror steps are the same game without jumps. Differences from the released code: it takes the
    minimum reply by reply, whose expectation is another, lower number.
    """
    if not np.isfinite(rewards).all():
        raise NumericsError("group rewards must be finite")
    k = rewards.shape[1]
    w, eta, done = np.full(k, 1.0 / k), 1.0, 0
    dual, utilities, kl = _play(rewards, draws, beta, w)
    for done in range(most_rounds):  # noqa: B007  # read after the loop
        if w @ utilities - utilities.min() <= tolerance:
            break
        while True:
            step = np.log(np.maximum(w, 1e-300)) - eta * utilities
            new = np.exp(step - np.logaddexp.reduce(step))
            moved = float(new @ (np.log(np.maximum(new, 1e-300)) - np.log(np.maximum(w, 1e-300))))
            after = _play(rewards, draws, beta, new)
            if after[0] <= dual + utilities @ (new - w) + moved / eta + 1e-12 or eta < 1e-8:
                break
            eta *= 0.5
        w, (dual, utilities, kl), eta = new, after, eta * 1.5
    worst = float(utilities.min())
    return MaxMin(w, utilities, kl, worst - beta * kl, float(w @ utilities - worst), done)


def _play(rewards: np.ndarray, draws: Draws, beta: float, w: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Value of the dual at weights, and utilities and divergence of the optimum there."""
    total = rewards @ w
    p, log_z = draws.tilted(total / beta)
    utilities = draws.mean(rewards, p)
    dual = beta * float(log_z.mean())
    return dual, utilities, float(w @ utilities - dual) / beta


def _log_sums(x: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    largest = np.maximum.reduceat(x, starts)
    return largest + np.log(np.add.reduceat(np.exp(x - np.repeat(largest, counts)), starts))
