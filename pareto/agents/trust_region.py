"""C-MORL's constrained extension as a trust-region step with any number of constraints, for a whole population at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from pareto.agents.aims import Aim
from pareto.agents.ppo import Batch, Learner

CG_STEPS = 10
"""Iterations of conjugate gradients, as in CPO and C-MORL's released code."""
DAMPING = 0.1
"""Added to the Fisher matrix's diagonal."""
HALVINGS = 8
"""Times a step is halved before it is given up."""


def multipliers(gram: np.ndarray, slack: np.ndarray, delta: float) -> tuple[np.ndarray, float] | None:
    """Solve the step's dual: max g.x subject to s_i + b_i.x >= 0 and x.F.x / 2 <= delta.

    With q = (1, l) S (1, l), where S holds the products v F^-1 v' of g, b_1, ..., b_k, the dual is
    sqrt(2 delta q(l)) + l.s, minimised over l >= 0; the step is x = F^-1 (g + sum l_i b_i) / nu, nu = sqrt(q / (2 delta)).

    Args:
        gram: [k + 1, k + 1] S.
        slack: [k] s, positive where a constraint is met.
        delta: > 0, largest KL divergence of a step, nats.

    Returns:
        (l [k], nu), or None where no step within the trust region meets all constraints.

    Source: Achiam et al. (2017), CPO, Eq. 11-12 and its dual; there with one constraint in closed form, C-MORL's code likewise.
    """
    k = len(slack)

    def dual(bound: np.ndarray) -> tuple[float, np.ndarray]:
        v = np.concatenate([[1.0], bound])
        product = gram @ v
        root = float(np.sqrt(2 * delta * max(v @ product, 1e-16)))
        return root + float(bound @ slack), 2 * delta * product[1:] / root + slack

    prices = np.zeros(k)
    if k:
        # where even the farthest step towards a constraint cannot meet it, the dual falls without bound
        reach = np.sqrt(2 * delta * np.maximum(np.diag(gram)[1:], 0.0))
        if (slack + reach < 0).any():
            return None
        prices = minimize(dual, prices, jac=True, bounds=[(0.0, 1e6)] * k, method="L-BFGS-B").x
        if (prices > 1e5).any():
            return None
    v = np.concatenate([[1.0], prices])
    return prices, float(np.sqrt(max(v @ gram @ v, 1e-16) / (2 * delta)))


def conjugate_gradients(product: Callable[[Tensor], Tensor], target: Tensor) -> Tensor:
    """Solve F x = target for every policy, rows [P, n], with the same number of iterations for all."""
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    square = (residual * residual).sum(1, keepdim=True)
    for _ in range(CG_STEPS):
        along = product(direction)
        step = square / ((direction * along).sum(1, keepdim=True) + 1e-12)
        x = x + step * direction
        residual = residual - step * along
        following = (residual * residual).sum(1, keepdim=True)
        direction = residual + following / (square + 1e-12) * direction
        square = following
    return x


def flat_gradient(value: Tensor, views: Mapping[str, Tensor], *, graph: bool = False) -> Tensor:
    """[P, n] gradient of a sum over policies; zero where it does not depend on a parameter."""
    parts = torch.autograd.grad(
        value,
        list(views.values()),
        create_graph=graph,
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )
    return torch.cat([part.flatten(1) for part in parts], dim=1)


@final
class TrustRegion(Aim):
    """One constrained step per rollout for the actors; the critics are fitted by Adam.

    The objective is H E[ratio A_l] / span_l, the slack of constraint i (G_i - floor_i) / span_i, and both are linearised at
    the present policy. Where no step can meet the constraints, the step that gains most on those that are violated is
    taken. Steps are halved until the KL divergence is within the region and no violation has grown.

    Args:
        climbs: [P] objective of each policy.
        anchors: [P, m] returns of the policies at their start; stand in until episodes have finished.
        floors: [P, m] thresholds.
        spans: [m] > 0.
        delta: > 0, largest mean KL divergence of a step, nats.

    Source: Achiam et al. (2017), CPO; C-MORL-CPO. The released code knows two objectives and one constraint, normalises both
    gradients, takes no line search, and is never called.
    """

    def __init__(
        self, climbs: np.ndarray, anchors: np.ndarray, floors: np.ndarray, spans: np.ndarray, delta: float
    ) -> None:
        self._climbs, self._floors, self._spans, self._delta = climbs, floors, spans, delta
        self._returns, self._horizon = anchors.copy(), np.ones(len(anchors))

    def measured(self, returns: np.ndarray, horizon: np.ndarray) -> None:
        """Take up what is known."""
        self._returns = np.where(np.isfinite(returns), returns, self._returns)
        self._horizon = horizon

    def state(self) -> dict[str, Any]:
        """The last known returns."""
        return {"returns": self._returns.tolist(), "horizon": self._horizon.tolist()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._returns, self._horizon = np.array(state["returns"]), np.array(state["horizon"])

    def improve(self, learner: Learner, batch: Batch) -> None:
        """Step the actors, fit the critics."""
        scale = torch.as_tensor(self._horizon[:, None] / self._spans, dtype=torch.float32)
        p, m = self._returns.shape
        surrogate = _surrogate(learner, batch) * scale
        gradients = torch.stack(
            [flat_gradient(surrogate[:, j].sum(), learner.views) for j in range(m)], dim=1
        )
        kl_gradient = flat_gradient(_divergence(learner, batch).sum(), learner.views, graph=True)

        def fisher(x: Tensor) -> Tensor:
            return flat_gradient((kl_gradient * x).sum(), learner.views) + DAMPING * x

        solved = torch.stack([conjugate_gradients(fisher, gradients[:, j]) for j in range(m)], dim=1).detach()
        gram = (gradients @ solved.transpose(1, 2)).double().numpy()
        slack = (self._returns - self._floors) / self._spans
        mixed = np.stack([self._mixture(gram[q], slack[q], int(self._climbs[q])) for q in range(p)])
        step = (torch.as_tensor(mixed, dtype=torch.float32)[:, None] @ solved)[:, 0]
        self._search(learner, batch, step, slack, scale)
        fit_critics(learner, batch)

    def _mixture(self, gram: np.ndarray, slack: np.ndarray, climbs: int) -> np.ndarray:
        """[m] coefficients c of the step x = sum_j c_j F^-1 v_j."""
        m = len(slack)
        others = [j for j in range(m) if j != climbs]
        order = [climbs, *others]
        found = multipliers(gram[np.ix_(order, order)], slack[others], self._delta)
        c = np.zeros(m)
        if found is not None:
            c[climbs], c[others] = 1.0 / found[1], found[0] / found[1]
            return c
        violated = [j for j in others if slack[j] < 0]
        c[violated] = 1.0
        size = max(float(c @ gram @ c), 1e-16)
        return c * np.sqrt(2 * self._delta / size)

    @torch.no_grad()
    def _search(self, learner: Learner, batch: Batch, step: Tensor, slack: np.ndarray, scale: Tensor) -> None:
        """Take the largest of step, step / 2, ... that keeps to the region and lets no violation grow, per policy."""
        parameters = learner.parameters
        start, known = parameters.clone(), torch.as_tensor(slack, dtype=torch.float32)
        base = _surrogate(learner, batch)
        waiting = torch.ones(len(parameters), dtype=torch.bool)
        own = torch.nn.functional.one_hot(torch.as_tensor(self._climbs), slack.shape[1]).bool()
        for halving in range(HALVINGS):
            parameters[waiting] = start[waiting] + 0.5**halving * step[waiting]
            after = known + (_surrogate(learner, batch) - base) * scale
            kept = ((after.clamp_max(0.0) >= known.clamp_max(0.0) - 1e-3) | own).all(dim=1)
            waiting = waiting & ~(kept & (_divergence(learner, batch) <= 1.5 * self._delta))
            if not waiting.any():
                return
        parameters[waiting] = start[waiting]


def _surrogate(learner: Learner, batch: Batch) -> Tensor:
    """E[ratio A], [P, m]."""
    return (_gap(learner, batch).exp()[:, None] @ batch.advantages)[:, 0] / batch.logps.shape[1]


def _divergence(learner: Learner, batch: Batch) -> Tensor:
    """[P] KL divergence of the policies that acted from the present ones, estimated by ratio - 1 - log ratio >= 0.

    Its Hessian at the policy that acted is the Fisher matrix of the actions taken, whatever the head.
    """
    gap = _gap(learner, batch)
    return (gap.exp() - 1.0 - gap).mean(dim=1)


def _gap(learner: Learner, batch: Batch) -> Tensor:
    """[P, N] log of the probability ratio."""
    outputs = learner.networks.actor(learner.views, batch.observations)
    return learner.networks.head.logps(outputs, learner.views, batch.actions)[0] - batch.logps


def fit_critics(learner: Learner, batch: Batch) -> None:
    """Some epochs of Adam on the value loss alone; its gradient leaves the actors where they are."""
    n, config = batch.logps.shape[1], learner.config
    for _ in range(config.epochs):
        for rows in torch.randperm(n, generator=learner.draw).split(config.minibatch):
            values = learner.networks.critic(learner.views, batch.observations.index_select(1, rows))
            targets = batch.targets.index_select(1, rows)
            error = torch.nn.functional.mse_loss(values, targets, reduction="sum") / len(rows)
            gradient = flat_gradient(0.5 * error, learner.views)
            learner.adam.step(learner.parameters, gradient, learner.lr, config.max_norm)
