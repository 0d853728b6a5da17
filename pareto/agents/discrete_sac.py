"""Soft actor-critic with discrete actions for dispatchers that see their preference."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from pareto.agents.schedule import linear
from pareto.config import Config
from pareto.errors import NumericsError
from pareto.models.dispatching import Seen, make_scorer, policy_logits

FLOOR = 0.02
"""Added to weights where errors and corrections are measured in weighted units, so that an objective without weight is
still learned, roughly."""


class SACConfig(Config):
    """How a dispatcher learns.

    Args:
        encoder: "set" takes any number of servers in any order; "padded" is the paper's fixed width.
        critic: "vector" learns both objectives' costs to come, "scalar" their weighted sum.
        hidden: width of the networks.
        gamma: discount of the costs to come while learning; scores are not discounted.
        lr: learning rate at the start; it falls linearly to `lr_end` times that.
        lr_end: see above.
        batch: transitions per gradient step.
        tau: share of the critics that their targets take over per gradient step.
        temperature: price of one nat less entropy, in scaled cost; None finds it by itself, see `entropy`.
        entropy: share of ln(servers) that the automatic temperature holds the entropy at.
        sharpness: log-odds per unit of scaled cost that the untrained policy starts with.
        max_norm: largest gradient norm.

    Source: Haarnoja et al. (2018), Christodoulou (2019) for discrete actions; gamma is that of Yang et al. (2025), whose
    learning rate (1e-6), batch (4,096) and fixed temperature (.05) belong to networks a hundred times as large and to other
    units. Widths, rates, tau and entropy are ours.
    """

    encoder: Literal["set", "padded"] = "set"
    critic: Literal["vector", "scalar"] = "vector"
    hidden: int = Field(default=64, ge=1)
    gamma: float = Field(default=0.95, ge=0, lt=1)
    lr: float = Field(default=1e-3, gt=0)
    lr_end: float = Field(default=0.1, ge=0, le=1)
    batch: int = Field(default=1024, ge=1)
    tau: float = Field(default=0.01, gt=0, le=1)
    temperature: float | None = Field(default=None, gt=0)
    entropy: float = Field(default=0.2, gt=0, lt=1)
    sharpness: float = Field(default=20.0, gt=0)
    max_norm: float = Field(default=5.0, gt=0)


class Transitions(NamedTuple):
    """What happened.

    Args:
        before: n states.
        actions: [n] servers chosen.
        rewards: [n, 2] in units of the scales.
        after: the states that followed.
        over: [n] bool, nothing more was to come; an episode that was only cut off goes on for the learner.
    """

    before: Seen
    actions: Tensor
    rewards: Tensor
    after: Seen
    over: Tensor

    def to(self, device: str) -> Transitions:
        """The same on another device."""
        before, actions, rewards, after, over = self
        return Transitions(
            before.to(device), actions.to(device), rewards.to(device), after.to(device), over.to(device)
        )


class DiscreteSAC:
    """Twin critics, their targets, a policy and a temperature.

    The critics learn what comes on top of the cost charged at once: Q_e = -cost_e + correction_e, so that before learning
    critics and policy agree with the greedy rule.

    Args:
        config: how to learn.
        servers: most servers that will be seen, for encoders that need to know.
        draw: of the first parameters.
        device: where networks and batches are.
    """

    def __init__(self, config: SACConfig, servers: int, draw: torch.Generator, device: str) -> None:
        self.config, self.device = config, device
        outputs = 2 if config.critic == "vector" else 1

        def network(outputs: int) -> nn.Module:
            return make_scorer(config.encoder, config.hidden, outputs, servers, draw).to(device)

        self.policy = network(1)
        self.critics = nn.ModuleList([network(outputs), network(outputs)])
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        start = math.log(config.temperature or 0.05)
        self.log_temperature = nn.Parameter(torch.tensor(start, device=device))
        self._steps = [
            torch.optim.Adam(part, lr=config.lr)
            for part in (self.policy.parameters(), self.critics.parameters(), [self.log_temperature])
        ]

    def logits(self, seen: Seen) -> Tensor:
        """[n, S] of the present policy."""
        return policy_logits(self.policy, seen, self.config.sharpness)

    def update(self, batch: Transitions, share: float) -> dict[str, float]:
        """One gradient step of critics, policy and temperature.

        Args:
            batch: of transitions.
            share: how much of the training is over, in [0, 1].

        Raises:
            NumericsError: the critics' loss is not finite.
        """
        config = self.config
        for optimizer in self._steps:
            optimizer.param_groups[0]["lr"] = config.lr * linear(1.0, config.lr_end, share)
        aims = self._aims(batch)
        rows = torch.arange(len(batch.actions), device=self.device)
        unit = self._unit(batch.before.weights)
        known = [self._values(critic, batch.before) for critic in self.critics]
        errors = [((q[rows, batch.actions] - aims) * unit).square().sum(-1).mean() for q in known]
        loss = errors[0] + errors[1]
        if not bool(torch.isfinite(loss)):
            raise NumericsError(
                f"the critics' loss is not finite; lower method.sac.lr (now {config.lr}) or check the rewards"
            )
        self._descend(1, loss, self.critics)

        log_probs = self.logits(batch.before).log_softmax(-1)
        probs, entropy = log_probs.exp(), _entropy(log_probs)
        weights = batch.before.weights
        worth = _weighted(_pessimistic(known, weights), weights).detach()
        gain = (probs * torch.where(batch.before.present, worth, 0.0)).sum(-1)
        self._descend(0, -(gain + self.temperature * entropy).mean(), self.policy)
        if config.temperature is None:
            most = batch.before.present.sum(-1).to(entropy.dtype).log()
            lacking = (config.entropy * most - entropy.detach()).mean()
            self._descend(2, -self.log_temperature * lacking, None)
        with torch.no_grad():
            for slow, fast in zip(self.targets.parameters(), self.critics.parameters()):
                slow.lerp_(fast, config.tau)
        return {
            "critic_loss": float(loss.detach()) / 2,
            "entropy_nats": float(entropy.detach().mean()),
            "temperature": float(self.temperature),
        }

    @property
    def temperature(self) -> Tensor:
        """Price of one nat less entropy, in scaled cost."""
        return self.log_temperature.detach().exp()

    @torch.no_grad()
    def _aims(self, batch: Transitions) -> Tensor:
        """[n, 2] or [n, 1]: reward now and the value of what follows.

        A vector has no place for the entropy, which is no objective; the scalar critic counts it, as the paper does.
        """
        log_probs = self.logits(batch.after).log_softmax(-1)
        values = _pessimistic([self._values(t, batch.after) for t in self.targets], batch.after.weights)
        following = (log_probs.exp()[..., None] * values).sum(1)
        rewards = batch.rewards
        if self.config.critic == "scalar":
            following = following + self.temperature * _entropy(log_probs)[:, None]
            rewards = (rewards * batch.before.weights).sum(-1, keepdim=True)
        return rewards + self.config.gamma * following * (~batch.over)[:, None]

    def _values(self, critic: nn.Module, seen: Seen) -> Tensor:
        """Q [n, S, 2], or [n, S, 1] of their weighted sum."""
        correction = critic(seen.features, seen.present)
        if self.config.critic == "scalar":
            return correction - seen.scalar_cost[..., None]
        return correction / self._unit(seen.weights)[:, None] - seen.cost

    def _unit(self, weights: Tensor) -> Tensor:
        """What one unit of each of the critics' outputs counts."""
        return weights + FLOOR if self.config.critic == "vector" else torch.ones_like(weights[:, :1])

    def _descend(self, which: int, loss: Tensor, bounded: nn.Module | None) -> None:
        self._steps[which].zero_grad()
        loss.backward()
        if bounded is not None:
            nn.utils.clip_grad_norm_(bounded.parameters(), self.config.max_norm)
        self._steps[which].step()

    def state(self) -> dict[str, Tensor]:
        """Everything that `load` takes back."""
        parts = {"policy": self.policy, "critics": self.critics, "targets": self.targets}
        tensors = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}
        tensors["log_temperature"] = self.log_temperature.detach()
        for i, optimizer in enumerate(self._steps):
            for j, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"adam.{i}.{j}.{k}": v for k, v in moments.items()}
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        for name, part in (("policy", self.policy), ("critics", self.critics), ("targets", self.targets)):
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            part.load_state_dict(own)
        with torch.no_grad():
            self.log_temperature.copy_(tensors["log_temperature"])
        for i, optimizer in enumerate(self._steps):
            saved: dict[str, Any] = optimizer.state_dict()
            for name, value in tensors.items():
                if name.startswith(f"adam.{i}."):
                    j, k = name.split(".")[2:]
                    saved["state"].setdefault(int(j), {})[k] = value
            optimizer.load_state_dict(saved)


def _weighted(values: Tensor, weights: Tensor) -> Tensor:
    """[n, S] w.Q of vector values, or the scalar ones as they are."""
    return values[..., 0] if values.shape[-1] == 1 else (values * weights[:, None]).sum(-1)


def _pessimistic(values: list[Tensor], weights: Tensor) -> Tensor:
    """Of two critics' values [n, S, c] the one that is worth less at the weights, as a whole vector."""
    first, second = values
    worse = _weighted(first, weights) <= _weighted(second, weights)
    return torch.where(worse[..., None], first, second)


def _entropy(log_probs: Tensor) -> Tensor:
    """[n] nats; servers that are not there add nothing."""
    finite = log_probs.masked_fill(torch.isinf(log_probs), 0.0)
    return -(log_probs.exp() * finite).sum(-1)
