"""Proximal policy optimisation of a whole population at once, with vector critics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from pareto.agents.adam import Adam
from pareto.agents.networks import Networks
from pareto.config import Config


class PPOConfig(Config):
    """How policies are improved from rollouts.

    Args:
        envs: copies of the environment per policy.
        steps: steps per copy and rollout.
        epochs: passes over a rollout.
        minibatch: samples per policy and gradient step.
        lr: learning rate at the start of a stage; it falls linearly to `lr_end` times that.
        lr_end: see above.
        gae_lambda: of the advantages.
        clip: largest change of a probability ratio that still pays.
        entropy: weight of the entropy at the start of a stage, nats; it changes linearly to `entropy_end`.
        entropy_end: see above.
        value: weight of the value loss.
        max_norm: largest gradient norm of one policy.
        hidden: widths of the hidden layers.
        network: name of a network in place of perceptrons; see `pareto.models.policy_networks`.
        gamma: discount of values and advantages; None takes the task's. Returns are always told with the task's: a task may
            be scored with a shorter or (at 1) endless sight, with which little can be learned.
        std: standard deviation that Gaussian policies begin with.

    Fields that came later stay out of a stored config while they are left alone, so that cells keep their names.

    Source: Schulman et al. (2017). Widths, clip, lambda and value weight are C-MORL's; learning rate, epochs,
    batch, entropy and gradient norm (0.5 there, which slows a vector critic) were chosen on minecart (see reports/agents).
    C-MORL's code learns with a discount of 0.995 whatever the returns are scored with; Andrychowicz et al. (2021) advise a
    standard deviation of 0.5.
    """

    envs: int = Field(default=16, ge=1)
    steps: int = Field(default=64, ge=1)
    epochs: int = Field(default=8, ge=1)
    minibatch: int = Field(default=256, ge=1)
    lr: float = Field(default=1e-3, gt=0)
    lr_end: float = Field(default=0.1, ge=0, le=1)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    clip: float = Field(default=0.2, gt=0)
    entropy: float = Field(default=0.03, ge=0)
    entropy_end: float = Field(default=0.002, ge=0)
    value: float = Field(default=0.5, ge=0)
    max_norm: float = Field(default=10.0, gt=0)
    hidden: tuple[int, ...] = (64, 64)
    network: str | None = None
    gamma: float | None = Field(default=None, gt=0, le=1, exclude_if=lambda value: value is None)
    std: float = Field(default=1.0, gt=0, exclude_if=lambda value: value == 1.0)


class Batch:
    """The samples of a rollout, [P, N, ...], and what they say of all policies' advantages.

    Args:
        observations: [P, N, d].
        actions: [P, N, ...].
        logps: [P, N] of the policy that acted.
        advantages: [P, N, m], in the rewards' units.
        targets: [P, N, m] of the critic, in units of the policy's return scale.
    """

    def __init__(
        self, observations: Tensor, actions: Tensor, logps: Tensor, advantages: Tensor, targets: Tensor
    ) -> None:
        self.observations, self.actions, self.logps = observations, actions, logps
        self.advantages, self.targets = advantages, targets
        self.mean = advantages.mean(dim=1)
        centred = advantages - self.mean[:, None]
        self.covariance = centred.transpose(1, 2) @ centred / advantages.shape[1]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The same samples of every policy."""
        parts = (self.observations, self.actions, self.logps, self.advantages, self.targets)
        return tuple(part.index_select(1, rows) for part in parts)  # type: ignore[return-value]  # five of them


def surrogate_change(ratio: Tensor, advantages: Tensor) -> Tensor:
    """E[(ratio - 1) A], [P, m]: the change of every return per step of the horizon, to first order.

    Args:
        ratio: [P, B] new over old probability of the actions taken.
        advantages: [P, B, m].

    Source: Kakade and Langford (2002), conservative policy iteration, with visits of the acting policy.
    """
    return torch.bmm((ratio - 1.0)[:, None], advantages)[:, 0] / ratio.shape[1]


def policy_loss(ratio: Tensor, advantages: Tensor, coefficients: Tensor, batch: Batch, clip: float) -> Tensor:
    """PPO's clipped loss [P] for the advantage sum_j c_j A_j, standardised over the whole rollout.

    Args:
        ratio: [P, B].
        advantages: [P, B, m].
        coefficients: [P, m], constants.
        batch: the rollout the samples are from; its moments give mean and variance for any coefficients.
        clip: epsilon.
    """
    c = coefficients[..., None]
    mean = torch.bmm(batch.mean[:, None], c)[..., 0]
    std = torch.bmm(torch.bmm(c.transpose(1, 2), batch.covariance), c)[..., 0].clamp_min(0.0).sqrt()
    gain = (torch.bmm(advantages, c)[..., 0] - mean) / (std + 1e-8)
    return -torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain).mean(dim=1)


@dataclass
class Learner:
    """What changes when a population is improved on a batch.

    Args:
        networks: the shape.
        views: leaves that share memory with `parameters`.
        parameters: [P, n].
        adam: its moments.
        config: how.
        draw: of the minibatches.
        lr: present learning rate.
        entropy: present weight of the entropy.
    """

    networks: Networks
    views: Mapping[str, Tensor]
    parameters: Tensor
    adam: Adam
    config: PPOConfig
    draw: torch.Generator
    lr: float = 0.0
    entropy: float = 0.0


def improve(learner: Learner, batch: Batch, coefficients: Callable[[Tensor], Tensor]) -> None:
    """Some epochs of minibatch steps; parameters and optimiser change in place.

    Args:
        learner: whose policies.
        batch: the samples.
        coefficients: surrogate change [P, m] -> worth of each objective [P, m].
    """
    n, config, networks, views = batch.logps.shape[1], learner.config, learner.networks, learner.views
    own = {name: views[name] for name in networks.head.layout}
    for _ in range(config.epochs):
        order = torch.randperm(n, generator=learner.draw)
        for rows in order.split(config.minibatch):
            seen, actions, old, advantages, targets = batch.take(rows)
            outputs, values, pull = networks.vjp(views, seen)
            leaves = [outputs.requires_grad_(), values.requires_grad_(), *own.values()]
            logps, spread = networks.head.logps(outputs, views, actions)
            ratio = (logps - old).exp()
            c = coefficients(surrogate_change(ratio.detach(), advantages))
            loss = policy_loss(ratio, advantages, c, batch, config.clip) - learner.entropy * spread.mean(
                dim=1
            )
            error = torch.nn.functional.mse_loss(values, targets, reduction="sum") / len(rows)
            by_outputs, by_values, *by_own = torch.autograd.grad(
                loss.sum() + config.value * 0.5 * error, leaves
            )
            gradient = pull(by_outputs, by_values)
            for name, part in zip(own, by_own):
                networks.views(gradient)[name].add_(part)
            learner.adam.step(learner.parameters, gradient, learner.lr, config.max_norm)
