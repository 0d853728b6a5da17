"""What turns a hidden state into a number per objective."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pareto import rng
from pareto.config import Config


class MLPHead(Config):
    """Two layers, d -> hidden -> m, with a ReLU between them.

    Source: Li et al. (2025), arXiv 2510.01167: d wide, float32, weights from N(0, 0.02), biases zero.
    """

    kind: Literal["mlp"] = "mlp"
    hidden: int | None = Field(default=None, ge=1, description="width of the middle; None: the backbone's")


class LinearHead(Config):
    """One matrix, d -> m; what ridge regression fits."""

    kind: Literal["linear"] = "linear"


AnyHead = Annotated[MLPHead | LinearHead, Field(discriminator="kind")]


def build_head(config: MLPHead | LinearHead, d: int, m: int, *, seed: int) -> nn.Module:
    """A head in float32 with seeded initial weights.

    Args:
        config: its form.
        d: width of the hidden states.
        m: objectives.
        seed: of the weights.
    """
    middle = (config.hidden or d) if isinstance(config, MLPHead) else None
    layers = [nn.Linear(d, m)] if middle is None else [nn.Linear(d, middle), nn.ReLU(), nn.Linear(middle, m)]
    draw = torch.Generator().manual_seed(rng.derive_seed("reward head", seed) % 2**31)
    with torch.no_grad():
        for layer in layers:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0.0, 0.02, generator=draw)
                layer.bias.zero_()
    return nn.Sequential(*layers).float()


def numbers(head: nn.Module, hidden: Tensor) -> Tensor:
    """[n, d] in any dtype -> [n, m] float32."""
    with torch.autocast(hidden.device.type, enabled=False):
        return head(hidden.float())
