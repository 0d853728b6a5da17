"""What a dispatcher sees of an offloading system, as tensors, and networks that score its servers."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.env_loader import load_envs
from pareto.errors import ConfigError, ShapeError

LEVELS_MBIT = (0.5, 1, 2, 4, 6, 9, 12, 16, 24, 32, 45, 60)
"""Residual work is told as the megabits below each of these levels: what a new task of that size would share."""

WIDTH = 14 + len(LEVELS_MBIT)
"""Features of a server."""

FAR = 1e3
"""Larger than any activation: what is subtracted from absent servers before a maximum is taken."""


class Seen(NamedTuple):
    """Servers as a dispatcher sees them.

    Args:
        features: [n, S, D] float32, 0 where there is no server.
        cost: [n, S, 2] what choosing the server costs at once, delay and energy in units of their scales.
        present: [n, S] bool.
        weights: [n, 2] of (delay, energy).
    """

    features: Tensor
    cost: Tensor
    present: Tensor
    weights: Tensor

    def rows(self, index: Tensor) -> Seen:
        """Some of the n."""
        return Seen(*(part[index] for part in self))

    def to(self, device: str | torch.device) -> Seen:
        """The same on another device."""
        return Seen(*(part.to(device) for part in self))

    @property
    def scalar_cost(self) -> Tensor:
        """[n, S] w.cost, by which the greedy rule chooses."""
        return (self.cost * self.weights[:, None]).sum(-1)


def _encoding() -> ModuleType:
    return load_envs().offloading.encoding


def reward_scales() -> np.ndarray:
    """[2] s and J that weigh the same at equal preference: measured once and frozen with the environment."""
    return np.array(load_envs().offloading.frozen.SCALES, dtype=np.float64)


def look(observations: np.ndarray, weights: np.ndarray, scales: np.ndarray) -> Seen:
    """Turn observations of `pareto/Offloading-v0` into features.

    A server is told by the task's size, rate, frequency, numbers of tasks and servers, backlog, slots gone by (as they are and
    through a logarithm, since episodes may be of six slots or of hundreds), residual work below some levels, what choosing
    it costs at once (the two numbers the greedy rule knows, their weighted sum, and its distance to the best server's), and
    the weights. Long-tailed numbers go through a logarithm. A critic that does not see the slot takes a long queue for a
    good sign: it means that the episode is nearly over.

    Args:
        observations: [n, S, F].
        weights: [n, 2] of (delay, energy), on the simplex.
        scales: [2] s and J that weigh the same.

    Raises:
        ShapeError: observations of another environment.
        ConfigError: weights that are not finite, or a row without any server.
    """
    encoding = _encoding()
    if observations.ndim != 3 or observations.shape[2] <= encoding.HEAD:
        raise ShapeError(
            f"expected observations [n, servers, features] of pareto/Offloading-v0; got {observations.shape}"
        )
    if weights.shape != (len(observations), 2) or not np.isfinite(weights).all():
        raise ConfigError(
            f"expected finite weights of (delay, energy) for each of {len(observations)} observations; got {weights!r}"
        )
    column = {name: observations[..., i] for name, i in encoding.COLUMN.items()}
    present = column["frequency"] > 0
    if not present.any(axis=1).all():
        raise ConfigError("expected at least one server in every observation; got one with zero servers")
    unit = encoding.FEATURES
    cost = np.stack([column[k] * (unit[k] / s) for k, s in zip(("delay", "energy"), scales)], axis=-1)
    weighted = np.where(present, (cost * weights[:, None]).sum(-1), np.inf)
    excess = np.where(present, weighted - weighted.min(axis=1, keepdims=True), 0.0)
    with np.errstate(invalid="ignore"):  # absent servers say -1 everywhere; they are zeroed below
        columns = (
            column["size"],
            column["rate"],
            column["frequency"],
            np.log1p(10.0 * column["tasks"]),
            column["edges"],
            np.log1p(np.maximum(column["backlog"], 0.0)),
            column["elapsed"],
            np.log1p(unit["elapsed"] * np.maximum(column["elapsed"], 0.0)) / 2.0,
            np.log1p(np.maximum(cost[..., 0], 0.0)),
            np.log1p(np.maximum(10.0 * cost[..., 1], 0.0)),
            np.log1p(10.0 * np.where(present, weighted, 0.0)),
            np.log1p(10.0 * excess),
            np.broadcast_to(weights[:, :1], present.shape),
            np.log(np.broadcast_to(weights[:, :1], present.shape) + 0.01) / 3.0,
        )
    middles = np.arange(observations.shape[2] - encoding.HEAD) + 0.5
    below = np.minimum(middles[:, None], np.array(LEVELS_MBIT)).astype(np.float32)
    work = np.log1p(np.maximum(observations[..., encoding.HEAD :], 0.0) @ below / 10.0)
    features = np.concatenate([np.stack(columns, axis=-1), work], axis=-1)
    features[~present] = 0.0
    cost[~present] = 0.0
    parts = (features.astype(np.float32), cost.astype(np.float32), present, weights.astype(np.float32))
    return Seen(*(torch.from_numpy(np.ascontiguousarray(part)) for part in parts))


class SetScorer(nn.Module):
    """Numbers per server from its own features and a summary of all servers: the same whatever their order or number.

    h_e = phi(x_e);  g = psi(mean_e h_e, max_e h_e);  score_e = out(chi(h_e + g)) + value(g). The last layers start at 0.

    Args:
        hidden: width.
        outputs: numbers per server.
        servers: ignored; it takes any number of them.

    Source: Zaheer et al. (2017), Deep sets, equivariant layers; in place of the padded convolutions of Yang et al. (2025).
    """

    def __init__(self, hidden: int, outputs: int, servers: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, hidden), nn.Linear(hidden, hidden)
        self.pooled = nn.Linear(2 * hidden, hidden)
        self.own, self.shared = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.score, self.value = nn.Linear(hidden, outputs), nn.Linear(hidden, outputs)
        _start_at_zero(self.score, self.value)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """[n, S, outputs] of features [n, S, D]."""
        mask = present[..., None].to(features.dtype)
        h = F.silu(self.second(F.silu(self.first(features)))) * mask
        mean, most = h.sum(1) / mask.sum(1), (h - FAR * (1 - mask)).amax(1)
        g = F.silu(self.pooled(torch.cat([mean, most], -1)))
        own = F.silu(self.own(h) + self.shared(g)[:, None])
        return self.score(own) + self.value(g)[:, None]


class PaddedScorer(nn.Module):
    """Numbers per server from one perceptron over all rows laid side by side, absent ones as zeros: the paper's layout.

    Args:
        hidden: a quarter of its layers' width, so that both kinds of network cost about the same.
        outputs: numbers per server.
        servers: S, the most it can see; fewer are padded.

    Source: Yang et al. (2025), section 4, with plain layers in place of their residual blocks.
    """

    def __init__(self, hidden: int, outputs: int, servers: int) -> None:
        super().__init__()
        self.servers, self.outputs = servers, outputs
        self.first = nn.Linear(servers * (WIDTH + 1), 4 * hidden)
        self.second = nn.Linear(4 * hidden, 4 * hidden)
        self.score = nn.Linear(4 * hidden, servers * outputs)
        _start_at_zero(self.score)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """[n, S, outputs] of features [n, S, D].

        Raises:
            ShapeError: more servers than it was made for.
        """
        n, servers = present.shape
        if servers > self.servers:
            raise ShapeError(
                f"this network sees at most {self.servers} servers, the cloud included; got {servers}; "
                "train one for more, or take encoder: set"
            )
        rows = torch.cat([features, present[..., None].to(features.dtype)], -1)
        rows = F.pad(rows, (0, 0, 0, self.servers - servers))
        h = F.silu(self.second(F.silu(self.first(rows.flatten(1)))))
        return self.score(h).view(n, self.servers, self.outputs)[:, :servers]


SCORERS = {"set": SetScorer, "padded": PaddedScorer}
"""Encoder -> its network."""


def make_scorer(encoder: str, hidden: int, outputs: int, servers: int, draw: torch.Generator) -> nn.Module:
    """A network with fresh parameters from a generator of its own.

    Args:
        encoder: "set" or "padded".
        hidden: width.
        outputs: numbers per server.
        servers: the most it will see, where the encoder needs to know.
        draw: of the parameters.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=draw)))
        return SCORERS[encoder](hidden, outputs, servers)


def policy_logits(scorer: nn.Module, seen: Seen, sharpness: float) -> Tensor:
    """[n, S] log-odds of the servers: the greedy rule's, corrected by the network; -inf where there is none.

    logit_e = sharpness (score_e - w.cost_e), so that a network that says nothing yet acts by the greedy rule.

    Args:
        scorer: of one output.
        seen: the servers.
        sharpness: > 0, per unit of scaled cost.
    """
    scores = scorer(seen.features, seen.present)[..., 0] - seen.scalar_cost
    return (sharpness * scores).masked_fill(~seen.present, -torch.inf)


def _start_at_zero(*layers: nn.Linear) -> None:
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
