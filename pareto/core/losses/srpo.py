"""Self-improving robust preference optimisation: a policy and its own reviser, fitted offline by regression."""

from __future__ import annotations

from torch import Tensor

from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs, required


@LOSSES.register(
    "srpo",
    source="Choi et al. (2024), Self-improving robust preference optimization, arXiv 2406.01660; losses re-derived",
    status="unverified",
)
@needs("revisions")
def srpo(pairs: PairLogps, *, beta: float = 0.1, alpha: float = 0.5) -> Tensor:
    """(1 - alpha) L_policy + alpha L_revision, squared distances from the fixed point of policy and reviser.

    With lr the log-ratio of policy to reference and lr(y | y') that of y written as a revision of y', from
    min_pi max_pi' E[P(y2 > y1) - beta KL(pi' || ref) + beta KL(pi || ref)]:

        L_revision = mean over y1 of (1[y2 beats y1] - 1/2 - beta (lr(y2 | y1) - lr(y1 | y1)))^2
        L_policy   = (beta (lr(c) - lr(r)) - beta (lr(c | c) - lr(r | r)))^2

    Args:
        pairs: log-probabilities of B pairs with `revisions`.
        beta: > 0, 1/nats (not from the paper).
        alpha: in [0, 1], share of the reviser's loss (paper's value unknown).

    Returns:
        [B] float, per-pair loss in nats squared, not reduced; 0 at the fixed point of a certain preference, alpha / 4
        where policy equals reference.

    Source: arXiv 2406.01660, objective known from summaries, losses re-derived from it; the reviser is the policy itself
    under a revision prompt.
    """
    given = required(pairs, "revisions").ratio
    worse = -0.5 - beta * (
        given[:, 0, 1] - given[:, 0, 0]
    )  # the rejected response as a revision of the chosen one
    better = 0.5 - beta * (given[:, 1, 0] - given[:, 1, 1])
    policy = beta * pairs.gap - beta * (given[:, 0, 0] - given[:, 1, 1])
    return (1.0 - alpha) * policy**2 + alpha * 0.5 * (worse**2 + better**2)
