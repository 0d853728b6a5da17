"""Self-supervised preference degree: DPO, and a classifier that has to see how much of a response is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.core.losses import LOSSES
from pareto.core.losses.base import Degraded, PairLogps, needs, required
from pareto.core.losses.module import LOSS_MODULES, LossModule, Setting
from pareto.errors import ConfigError, DataError

SOURCE = "Self-supervised preference optimization, arXiv 2409.17791; from memory, no code was released"


@LOSSES.register("spo_degree", source=SOURCE, status="unverified")
@needs("degraded")
def spo_degree(pairs: PairLogps, *, beta: float = 0.1, gamma: float = 0.1) -> Tensor:
    """-log sigmoid(beta m) + gamma CE(classifier(features), degree), mean over the copies of the chosen response.

    Args:
        pairs: log-probabilities of B pairs with `degraded`: text 0 is the whole response, text i lacks the i-th largest
            share of its content; its degree is i.
        beta: > 0, 1/nats.
        gamma: >= 0, weight of the classification (from memory).

    Returns:
        [B] float, per-pair loss in nats, not reduced. gamma = 0 is DPO; a classifier that knows nothing adds
        gamma ln(number of texts).

    Raises:
        DataError: no degraded copies, or no classifier looked at them.

    Source: arXiv 2409.17791, from memory.
    """
    degraded: Degraded = required(pairs, "degraded")
    if degraded.logits is None:
        raise DataError(
            "spo_degree needs the classifier's logits; complete the batch with `DegreeClassifier`"
        )
    n, texts, _ = degraded.logits.shape
    degree = torch.arange(texts, device=degraded.logits.device).repeat(n)
    wrong = F.cross_entropy(degraded.logits.flatten(0, 1), degree, reduction="none").view(n, texts)
    return -F.logsigmoid(beta * pairs.gap) + gamma * wrong.mean(1)


@final
@LOSS_MODULES.register("spo_degree", source=SOURCE, status="unverified")
class DegreeClassifier(LossModule):
    """One hidden layer over pooled figures of a text; starts by giving every degree the same probability.

    Args:
        setting: of the run, with `n_degrees` and `n_features`.
        hidden: units of the hidden layer.

    Raises:
        ConfigError: fewer than two degrees, or no features.
    """

    def __init__(self, setting: Setting, *, hidden: int = 32) -> None:
        super().__init__()
        if setting.n_degrees < 2 or setting.n_features < 1:
            raise ConfigError(
                "spo_degree needs examples with degraded copies of the chosen response; got "
                f"{setting.n_degrees} texts of {setting.n_features} features; lay them out with `degraded_examples`"
            )
        draw = torch.Generator().manual_seed(setting.seed)
        first = torch.randn(hidden, setting.n_features, generator=draw) / setting.n_features**0.5
        self.first, self.first_bias = nn.Parameter(first), nn.Parameter(torch.zeros(hidden))
        self.last = nn.Parameter(torch.zeros(setting.n_degrees, hidden))
        self.last_bias = nn.Parameter(torch.zeros(setting.n_degrees))

    def forward(self, features: Tensor) -> Tensor:
        """[..., F] -> [..., L] logits of the degrees."""
        return F.linear(F.linear(features, self.first, self.first_bias).tanh(), self.last, self.last_bias)

    def complete(self, pairs: PairLogps, extras: Mapping[str, Any]) -> PairLogps:
        """The batch with the classifier's logits."""
        degraded: Degraded = required(pairs, "degraded")
        features = degraded.features.to(self.first.dtype)
        return replace(pairs, degraded=replace(degraded, logits=self(features)))

    def advance(self, pairs: PairLogps) -> None:
        """There is no state beside the parameters."""
