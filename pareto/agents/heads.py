"""What an actor's output means: a categorical choice or a Gaussian around a mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pareto.errors import ConfigError

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
    def to_env(self, actions: Tensor) -> np.ndarray:
        """[P * B, ...] actions as the environment takes them."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What a stored actor needs to know."""


@final
class DiscreteHead(Head):
    """Logits of a Discrete space."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.n, self.first = int(space.n), int(space.start)
        self.width, self.layout = self.n, {}

    def sample(self, outputs: Tensor, views: Mapping[str, Tensor], draw: torch.Generator) -> Tensor:
        """Gumbel's trick: the largest of logit + Gumbel noise; argmax of logit - log(exponential)."""
        noise = torch.empty_like(outputs).exponential_(generator=draw)
        return (outputs - noise.log_()).argmax(dim=-1)

    def mode(self, outputs: Tensor) -> Tensor:
        """The largest logit."""
        return outputs.argmax(dim=-1)

    def logps(self, outputs: Tensor, views: Mapping[str, Tensor], actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-softmax at the actions; entropy -sum p log p."""
        logs = torch.log_softmax(outputs, dim=-1)
        return logs.gather(-1, actions[..., None])[..., 0], -(logs.exp() * logs).sum(dim=-1)

    def to_env(self, actions: Tensor) -> np.ndarray:
        """Numbers of the space."""
        return actions.reshape(-1).numpy() + self.first

    def to_json(self) -> dict[str, Any]:
        """Kind, number of actions, first action."""
        return {"space": "discrete", "n": self.n, "start": self.first}


@final
class BoxHead(Head):
    """Mean of a Gaussian whose log standard deviation is a parameter of its own; actions are clipped on the way out.

    Source: Schulman et al. (2017), continuous control with a state-independent standard deviation.
    """

    def __init__(self, space: spaces.Box) -> None:
        self.low, self.high = space.low.reshape(-1), space.high.reshape(-1)
        self.shape = space.shape
        self.width = len(self.low)
        self.layout = {"log_std": (self.width,)}

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

    def to_env(self, actions: Tensor) -> np.ndarray:
        """Clipped into the box, in its shape."""
        flat = actions.reshape(-1, self.width).numpy()
        return np.clip(flat, self.low, self.high).reshape(-1, *self.shape)

    def to_json(self) -> dict[str, Any]:
        """Kind and bounds."""
        return {"space": "box", "low": self.low.tolist(), "high": self.high.tolist()}


def make_head(space: spaces.Space[Any]) -> Head:
    """The head for an action space.

    Raises:
        ConfigError: neither Discrete nor Box.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteHead(space)
    if isinstance(space, spaces.Box):
        return BoxHead(space)
    raise ConfigError(f"agents act in Discrete and Box spaces; got {space}; wrap the environment")
