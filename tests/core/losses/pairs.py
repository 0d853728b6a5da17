"""Random pairs, and an enumerable bandit whose optimum is known."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import torch

from pareto.core.losses.base import PairLogps

BANDIT_REF = np.array([0.4, 0.1, 0.2, 0.05, 0.25])
BANDIT_REWARDS = np.array(
    [[1.0, 0.0, -0.5, 0.3, 0.2], [-0.2, 0.8, 0.1, -0.6, 0.4], [0.5, -0.3, 0.9, 0.0, -0.1]]
)


def random_pairs(n=7, *, seed=0, dtype=torch.float64, **extra):
    """Pairs with log-probabilities of plausible size; `extra` replaces or adds columns."""
    draw = torch.Generator().manual_seed(seed)

    def normal(mean, spread):
        return (mean + spread * torch.randn(n, generator=draw, dtype=torch.float64)).to(dtype)

    columns = {
        "chosen_logps": normal(-20, 4),
        "rejected_logps": normal(-22, 4),
        "ref_chosen_logps": normal(-21, 4),
        "ref_rejected_logps": normal(-21, 4),
        "chosen_lengths": torch.arange(1, n + 1).to(dtype),
        "rejected_lengths": torch.arange(n, 0, -1).to(dtype),
    }
    return PairLogps(**(columns | extra))


def rows(pairs, order):
    """The pairs in another order."""
    return PairLogps(
        **{
            f.name: value if (value := getattr(pairs, f.name)) is None else value[order]
            for f in fields(pairs)
        }
    )


def at_ratios(chosen, rejected, **extra):
    """Pairs with these log-ratios of policy to reference; the policy's log-probabilities take gradients."""
    chosen = torch.tensor(chosen, dtype=torch.float64)
    rejected = torch.tensor(rejected, dtype=torch.float64)
    n = len(chosen)
    return PairLogps(
        (chosen - 3.0).requires_grad_(),
        (rejected - 4.0).requires_grad_(),
        torch.full((n,), -3.0, dtype=torch.float64),
        torch.full((n,), -4.0, dtype=torch.float64),
        torch.ones(n, dtype=torch.float64),
        torch.ones(n, dtype=torch.float64),
        **extra,
    )


def tilted(reward):
    """[Y] pi_ref * exp(reward) / Z on the bandit."""
    p = BANDIT_REF * np.exp(reward)
    return p / p.sum()


def fit_bandit(loss_of, label_reward, steps=400):
    """[Y] policy that minimises the expected loss over all ordered pairs, labelled by Bradley-Terry on a reward.

    Args:
        loss_of: (pairs of all y, y') -> [Y * Y] losses with y chosen and y' rejected.
        label_reward: [Y] true reward; y wins over y' with probability sigmoid(r(y) - r(y')).
        steps: at most so many of L-BFGS, in double precision.
    """
    n = len(BANDIT_REF)
    first, second = np.divmod(np.arange(n * n), n)
    ref = torch.log(torch.from_numpy(BANDIT_REF))
    wins = torch.sigmoid(torch.from_numpy(label_reward[first] - label_reward[second]))
    drawn = torch.from_numpy(BANDIT_REF[first] * BANDIT_REF[second])
    logits = ref.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        logps = logits.log_softmax(0)
        ones = torch.ones(n * n, dtype=torch.float64)
        pairs = PairLogps(logps[first], logps[second], ref[first], ref[second], ones, ones)
        loss = (drawn * wins * loss_of(pairs, first, second)).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return logits.detach().softmax(0).numpy()


def sigmoid(x):
    """1 / (1 + exp(-x)) of a float."""
    return 1.0 / (1.0 + math.exp(-x))


def gradients(loss, pairs):
    """Of the summed loss with respect to the policy's log-probabilities: (chosen [B], rejected [B]), None where unread."""
    loss.sum().backward()
    return tuple(
        None if column.grad is None else column.grad.tolist()
        for column in (pairs.chosen_logps, pairs.rejected_logps)
    )


def columns(pairs):
    """(chosen ratio, rejected ratio, chosen, rejected, chosen length, rejected length) of every pair, as floats."""
    names = (
        "chosen_ratio",
        "rejected_ratio",
        "chosen_logps",
        "rejected_logps",
        "chosen_lengths",
        "rejected_lengths",
    )
    return list(zip(*(getattr(pairs, name).tolist() for name in names)))
