"""How strongly each policy of a front is tied to the reference, so that its points differ by direction and not by distance.

At one beta for all, the exact optimum of two conflicting objectives at equal weights stays much nearer to the reference than
those of the corners. A schedule gives every weight vector a beta of its own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pareto.errors import NumericsError

Strength = Literal["constant", "trained_weight", "equal_kl"]
"""constant: beta everywhere.

trained_weight: beta w_k, so that MODPO's loss has beta_w / w_k = beta, the same scale of the policy's log-ratio, on the
whole front.
equal_kl: the beta_w at which the exact optimum is as far from the reference as the corners' are at beta, on average.
"""

SPAN = 1e4
"""beta_w is looked for between beta / SPAN and beta * SPAN."""


def tilted_kl(advantage: np.ndarray, beta: float) -> float:
    """KL(pi* || pi_ref) of  pi* = pi_ref exp(advantage / beta) / Z  from rewards of the reference's own responses.

    With x = advantage / beta: E[e^x x] / E[e^x] - log E[e^x], means over responses. Pooled over prompts: rewards less their
    prompt's mean are taken as draws of one distribution, since a prompt has few responses.

    Args:
        advantage: [n] rewards less the mean of their prompt.
        beta: > 0.

    Returns:
        nats, >= 0.
    """
    x = advantage / beta
    weight = np.exp(x - x.max())
    log_z = x.max() + np.log(weight.mean())
    return float(max(0.0, (weight * x).sum() / weight.sum() - log_z))


def advantages(rewards: np.ndarray, prompt_of: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """[n, m] rewards of drawn responses, less the mean over the draws to the same prompt.

    Args:
        rewards: [n_responses, m], NaN where unknown.
        prompt_of: [n_responses] int64.
        responses: [n] int64, the responses as often as they were drawn.
    """
    drawn, prompt = rewards[responses], prompt_of[responses]
    known = np.isfinite(drawn).all(axis=1)
    drawn, prompt = drawn[known], prompt[known]
    total = np.zeros((len(prompt_of) and int(prompt_of.max()) + 1, drawn.shape[1]))
    np.add.at(total, prompt, drawn)
    count = np.bincount(prompt, minlength=len(total))[:, None]
    return drawn - total[prompt] / count[prompt]


def scheduled_beta(
    strength: Strength, beta: float, weights: np.ndarray, advantage: np.ndarray | None = None
) -> float:
    """The beta of one weight vector.

    Args:
        strength: the schedule.
        beta: > 0, of the corners.
        weights: [m] on the simplex.
        advantage: [n, m] from `advantages`; "equal_kl" alone looks at it.

    Raises:
        NumericsError: rewards that say nothing, so that no beta has the wanted KL.
    """
    if strength == "constant" or weights.max() == 1.0:
        return beta
    if strength == "trained_weight":
        return beta * float(weights.max())
    if advantage is None or not len(advantage):
        raise NumericsError(
            "strength 'equal_kl' needs the rewards of some responses under all objectives; there are none"
        )
    wanted = float(np.mean([tilted_kl(column, beta) for column in advantage.T]))
    mixed = advantage @ weights
    low, high = np.log(beta / SPAN), np.log(beta * SPAN)
    if not tilted_kl(mixed, float(np.exp(high))) < wanted < tilted_kl(mixed, float(np.exp(low))):
        raise NumericsError(
            f"no beta ties the policy of weights {weights.tolist()} as strongly as the corners ({wanted:.3g} nats); are its "
            "weighted rewards constant?"
        )
    for _ in range(60):  # KL falls with beta
        middle = 0.5 * (low + high)
        low, high = (middle, high) if tilted_kl(mixed, float(np.exp(middle))) > wanted else (low, middle)
    return float(np.exp(0.5 * (low + high)))
