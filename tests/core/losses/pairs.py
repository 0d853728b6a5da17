"""Random pairs, and an enumerable bandit whose optimum is known."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass

import numpy as np
import torch

from pareto.core.losses.base import (
    Degraded,
    OtherPrompt,
    PairLogps,
    PromptContrast,
    Revisions,
    TokenMasks,
    UnpairedLogps,
)

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


def each(batch, change):
    """The batch with `change` applied to every tensor in it."""
    if is_dataclass(batch):
        return type(batch)(**{f.name: each(getattr(batch, f.name), change) for f in fields(batch)})
    return None if batch is None else change(batch)


def tensors(batch, prefix=""):
    """Dotted name -> tensor, of all that the batch holds."""
    found = {}
    for f in fields(batch):
        value = getattr(batch, f.name)
        if is_dataclass(value):
            found |= tensors(value, f"{prefix}{f.name}.")
        elif value is not None:
            found[prefix + f.name] = value
    return found


def rows(batch, order):
    """The examples in another order, or some of them."""
    return each(batch, lambda value: value[order])


def complete_batch(kind, policy, reference, lengths, *, draw=None):
    """A batch with every column a loss may ask for; everything is derived from the per-token figures given.

    Args:
        kind: `PairLogps`, `UnpairedLogps` or `PromptContrast`.
        policy, reference: [2, B, T] token log-probabilities of chosen and rejected (first and second) responses.
        lengths: [2, B], tokens beyond them count nothing.
        draw: generator of what is arbitrary (margins, masks, features).
    """
    draw = draw or torch.Generator().manual_seed(5)
    _, b, t = policy.shape
    dtype = policy.dtype
    real = (torch.arange(t) < lengths[..., None]).to(dtype)
    policy, reference = policy * real, reference * real
    (c, r), (ref_c, ref_r) = policy.sum(-1), reference.sum(-1)

    def uniform(*shape, low=0.0, high=1.0):
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=dtype)

    if kind is UnpairedLogps:
        return UnpairedLogps(
            c, ref_c, lengths[0].to(dtype), torch.arange(b) % 2 == 0, (c - ref_c).detach() / 2
        )
    if kind is PromptContrast:
        both = torch.stack([c, r], 1), torch.stack([ref_c, ref_r], 1)
        kl = (both[0] - both[1]).abs()[:, :, None] * uniform(b, 2, 2)
        return PromptContrast(*both, lengths.T.to(dtype), kl)
    return PairLogps(
        c,
        r,
        ref_c,
        ref_r,
        *lengths.to(dtype),
        margin=uniform(b, low=-1),
        weight=uniform(b, low=0.5, high=1.5),
        target=uniform(b, low=0.55, high=0.95),
        span_mask=real[0].bool(),
        prev_chosen_logps=ref_c - 0.2,
        prev_rejected_logps=ref_r + 0.1,
        chosen_token_logps=policy[0],
        rejected_token_logps=policy[1],
        ref_chosen_token_logps=reference[0],
        ref_rejected_token_logps=reference[1],
        example_id=torch.arange(b),
        chosen_token_kl=(policy[0] - reference[0]).abs() * 0.5,
        rejected_token_kl=(policy[1] - reference[1]).abs() * 0.5,
        masks=TokenMasks(*(uniform(b, t) * real[i] for i in (0, 1, 0, 1))),
        rationale_logps=(c + r) / 3,
        calibration_logps=c - 1.0,
        other_prompt=OtherPrompt(c * 0.9, r * 0.8, ref_c * 0.95, ref_r * 0.7),
        revisions=Revisions(
            torch.stack([torch.stack([c, r], 1), torch.stack([c, r], 1)], 1) * 0.9,
            torch.stack([torch.stack([ref_c, ref_r], 1), torch.stack([ref_r, ref_c], 1)], 1) * 0.9,
        ),
        degraded=Degraded(uniform(b, 3, 4), c[:, None, None] / 100 * uniform(b, 3, 3)),
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


def win_rates(reward):
    """[Y] probability that each response wins against one drawn from the reference."""
    wins = 1.0 / (1.0 + np.exp(-(reward[:, None] - reward[None])))
    return wins @ BANDIT_REF


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
