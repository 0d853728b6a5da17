"""What an actor's output means: a categorical choice or a Gaussian around a mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

from pareto.models.spaces import Actions

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


class Head(ABC):
    """From outputs [P, B, A] to actions, their log-probabilities and the entropy.

    Attributes:
        width: A, outputs of the actor.
        layout: name -> shape of further parameters of one policy.
        start: what those start with.
    """

    width: int
    layout: Mapping[str, tuple[int, ...]]
    start: float = 0.0

    @abstractmethod
    def sample(self, outputs: Tensor, views: Mapping[str, Tensor], draw: torch.Generator) -> Tensor:
        """Draw actions [P, B, ...]."""

    @abstractmethod
    def mode(self, outputs: Tensor) -> Tensor:
        """The likeliest actions [P, B, ...]."""

    @abstractmethod
    def logps(self, outputs: Tensor, views: Mapping[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities [P, B] of actions, and the entropy [P, B], in nats."""

    @abstractmethod
    def constants(self) -> Tensor:
        """Outputs [n, A] of policies that take the same action everywhere, with some chance left for others to be learned."""


@final
class DiscreteHead(Head):
    """Logits of n discrete actions."""

    def __init__(self, n: int) -> None:
        self.width, self.layout = n, {}

    def sample(self, outputs: Tensor, views: Mapping[str, Tensor], draw: torch.Generator) -> Tensor:
        """Gumbel's trick: the largest of logit + Gumbel noise; argmax of logit - log(exponential)."""
        noise = torch.empty_like(outputs).exponential_(generator=draw)
        return (outputs - noise.log_()).argmax(dim=-1)

    def mode(self, outputs: Tensor) -> Tensor:
        """The largest logit."""
        return outputs.argmax(dim=-1)

    def logps(self, outputs: Tensor, views: Mapping[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-softmax at the actions; entropy -sum p log p."""
        logs = torch.log_softmax(outputs.transpose(-1, -2), dim=-2)  # along rows: slow over few columns
        return logs.gather(-2, actions[..., None, :])[..., 0, :], -(logs.exp() * logs).sum(dim=-2)

    def constants(self) -> Tensor:
        """Each of the actions, with nine chances of ten."""
        return torch.eye(self.width) * math.log(9.0 * max(self.width - 1, 1))


@final
class GaussianHead(Head):
    """Mean of a Gaussian on n axes whose log standard deviation is a parameter of its own; the environment clips.

    Source: Schulman et al. (2017), continuous control with a state-independent standard deviation.
    """

    def __init__(self, n: int, std: float = 1.0) -> None:
        self.width, self.layout, self.start = n, {"log_std": (n,)}, math.log(std)

    def sample(self, outputs: Tensor, views: Mapping[str, Tensor], draw: torch.Generator) -> Tensor:
        """Mean plus noise."""
        noise = torch.empty_like(outputs).normal_(generator=draw)
        return outputs + views["log_std"].exp()[:, None] * noise

    def mode(self, outputs: Tensor) -> Tensor:
        """The mean."""
        return outputs

    def logps(self, outputs: Tensor, views: Mapping[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over dimensions of the Gaussian's; the entropy is 1/2 + log sqrt(2 pi) + log std, summed."""
        log_std = views["log_std"][:, None]
        z = (actions - outputs) * torch.exp(-log_std)
        logps = (-0.5 * z * z - log_std - _HALF_LOG_2PI).sum(dim=-1)
        entropy = (log_std + 0.5 + _HALF_LOG_2PI).sum(dim=-1).expand_as(logps)
        return logps, entropy

    def constants(self) -> Tensor:
        """All axes at 0."""
        return torch.zeros(1, self.width)


def make_head(actions: Actions, std: float = 1.0) -> Head:
    """The head for an environment's actions; Gaussians begin with the standard deviation `std`."""
    return DiscreteHead(actions.size) if actions.discrete else GaussianHead(actions.size, std)
