"""What a step is worth once it is known how the reply ended."""

from __future__ import annotations

import numpy as np

from pareto.errors import ShapeError


def hindsight_targets(
    step_rewards: np.ndarray, outcome: float | np.ndarray, *, gamma: float = 0.9
) -> np.ndarray:
    """Shape step rewards by the outcome of the whole reply: r_t + gamma^(n - t) z for step t = 1..n.

    A step far from the end is less sure to have caused it; the last one carries the outcome whole.

    Args:
        step_rewards: [n] or [n, m], r_t; zeros where only the outcome is known, NaN where unknown.
        outcome: z, a number or [m].
        gamma: in [0, 1]; 0 leaves the outcome to the last step.

    Returns:
        the shape of `step_rewards`, float64.

    Raises:
        ShapeError: neither [n] nor [n, m].

    Source: Li et al. (2025), arXiv 2510.01167: targets of the value model for verifiable objectives; gamma 0.9 is its code's.
    """
    rewards = np.asarray(step_rewards, dtype=np.float64)
    if rewards.ndim not in (1, 2):
        raise ShapeError(f"step rewards must be [n] or [n, m]; got shape {rewards.shape}")
    shares = gamma ** np.arange(len(rewards) - 1, -1, -1, dtype=np.float64)
    return rewards + (shares if rewards.ndim == 1 else shares[:, None]) * np.asarray(outcome)
