"""How parameters move: AdamW in groups, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from pareto.config import Config
from pareto.core.parallel import Parallel

MODULE = "objective/"
"""What the names of a learned loss's parameters begin with, beside those of the model."""


class TrainConfig(Config):
    """Optimisation of one run.

    Source: AdamW, linear warm-up, cosine decay and clipping at 1 as in TRL and the MODPO code; batch and rate depend on
    the model and belong into the study's config.
    """

    steps: int | None = Field(
        default=None, ge=1, description="optimiser steps; None: as many as `epochs` needs"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the data when `steps` is not given")
    batch_size: int = Field(default=64, ge=1, description="examples per optimiser step, of all processes")
    accumulation: int = Field(
        default=1,
        ge=1,
        description="micro-batches per optimiser step and process; changes memory, not the gradient, except of losses "
        "that look across the examples of a micro-batch",
    )
    lr: float = Field(default=1e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps with linear warm-up")
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_lr: float = Field(
        default=0.0, ge=0, le=1, description="learning rate at the end, as a share of `lr`"
    )
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = Field(
        default=1.0, gt=0, description="gradient norm; larger gradients are scaled down to it"
    )
    log_every: int = Field(default=20, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    parallel: Parallel = Field(
        default="auto",
        description="how several processes share the work: 'ddp' keeps the whole model in each, 'fsdp2' a part of every "
        "layer; 'auto' does what the launcher (accelerate launch, torchrun) says",
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="keep less of the forward pass and compute it again: less memory, more time",
    )
    compile: bool = Field(
        default=False, description="compile the model's body; pays off on a GPU in long runs, costs minutes"
    )


def rate(step: int, total: int, config: TrainConfig) -> float:
    """Learning rate of a step as a share of the largest one."""
    warm = config.warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.schedule == "constant":
        return 1.0
    done = (step - warm) / max(total - warm, 1)
    fall = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.final_lr + (1.0 - config.final_lr) * fall


def trainable(model: nn.Module, learned: nn.Module | None) -> dict[str, nn.Parameter]:
    """Name -> parameter of everything that is trained: the model's, then those of the loss's learned part.

    Args:
        model: the policy.
        learned: `Objective.module`.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if learned is not None:
        found |= {MODULE + name: p for name, p in learned.named_parameters() if p.requires_grad}
    return found


def adamw(
    parameters: Mapping[str, nn.Parameter], learned: nn.Module | None, config: TrainConfig
) -> torch.optim.AdamW:
    """AdamW over the parameters of `trainable`, with the largest rate of each group under "peak_lr".

    The learned part of a loss is a group of its own; an attribute `lr` of it (a number) is its largest learning rate, else
    it is the model's. Sharded parameters are a group of their own, because one kernel cannot update both kinds.
    """
    model = {n: p for n, p in parameters.items() if not n.startswith(MODULE)}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in model.values() if isinstance(p, DTensor) == sharded], "peak_lr": config.lr}
        for sharded in (False, True)
    ]
    own = getattr(learned, "lr", None)
    groups.append(
        {
            "params": [p for n, p in parameters.items() if n.startswith(MODULE)],
            "peak_lr": config.lr if own is None else float(own),
        }
    )
    kept = [group for group in groups if group["params"]]
    device = kept[0]["params"][0].device
    return torch.optim.AdamW(
        kept,
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Let every group learn at a share of its largest rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * share


def clip(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients down to a norm in place.

    Args:
        parameters: plain ones, and parts of sharded ones; their norm is that of the whole gradient.
        limit: > 0, largest norm.

    Returns:
        scalar norm before.
    """
    kinds: dict[bool, list[nn.Parameter]] = {}
    for p in parameters:
        kinds.setdefault(isinstance(p, DTensor), []).append(p)
    if len(kinds) == 1 and False in kinds:
        return torch.nn.utils.clip_grad_norm_(kinds[False], limit)
    norms = []
    for own in kinds.values():
        norm = torch.nn.utils.get_total_norm([p.grad for p in own if p.grad is not None])
        norms.append(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    total = torch.stack(norms).norm()
    for own in kinds.values():
        torch.nn.utils.clip_grads_with_norm_(own, limit, total)
    return total
