"""The only training loop: AdamW on per-example losses of scored responses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto.config import Config
from pareto.core.logps import make_scorer
from pareto.core.objective import Objective
from pareto.core.packing import pack
from pareto.core.sampler import Sampler
from pareto.core.step import backward
from pareto.data.pairs import ResponseTable
from pareto.errors import NumericsError
from pareto.state.checkpoint import Checkpoints
from pareto.state.random_state import capture_random_state, restore_random_state


class TrainConfig(Config):
    """Optimisation of one run.

    Source: AdamW, linear warm-up, cosine decay and clipping at 1 as in TRL and the MODPO code; batch and rate depend on
    the model and belong into the study's config.
    """

    steps: int | None = Field(
        default=None, ge=1, description="optimiser steps; None: as many as `epochs` needs"
    )
    epochs: float = Field(default=1.0, gt=0, description="passes over the data when `steps` is not given")
    batch_size: int = Field(default=64, ge=1, description="examples per optimiser step")
    accumulation: int = Field(
        default=1, ge=1, description="micro-batches per optimiser step; changes memory, not the gradient"
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


@dataclass
class Hooks:
    """How a loop talks to its caller; all optional."""

    progress: Callable[[int, int, Mapping[str, float]], None] = lambda done, total, figures: None
    log: Callable[[Mapping[str, float]], None] = lambda figures: None
    callbacks: tuple[Any, ...] = ()
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True)
class TrainResult:
    """What a finished run reports: optimiser steps, true input tokens, and the last logged figures."""

    steps: int
    tokens: int
    figures: Mapping[str, float] = field(default_factory=dict)


def train(
    model: Any,
    table: ResponseTable,
    examples: np.ndarray,
    objective: Objective,
    config: TrainConfig,
    *,
    seed: int,
    dtype: str = "float32",
    first_loss: float | None = None,
    hooks: Hooks | None = None,
) -> TrainResult:
    """Minimise the mean loss over examples; the model's trainable parameters change in place.

    Args:
        model: a causal model on its device; parameters with `requires_grad` are trained.
        table: prompts and responses as token ids.
        examples: [n, K] int64, response indices; the K responses of an example answer one prompt.
        objective: per-example loss of scored examples.
        config: optimisation.
        seed: data order and every random number inside.
        dtype: "bfloat16" runs the forward pass under autocast; losses and sums stay float32.
        first_loss: known loss before the first step (ln 2 for DPO); a run that starts elsewhere is stopped, because its
            reference is not its start.
        hooks: progress, logging, callbacks, checkpoints.

    Raises:
        NumericsError: a loss or gradient that is not finite (with the step), or a first loss off by more than 1e-3
            (0.05 in bfloat16).
    """
    hooks = hooks or Hooks()
    device = next(model.parameters()).device
    scorer = make_scorer(model)
    lengths = table.prompts.lengths[table.prompt_of[examples[:, 0]]] + table.responses.lengths[examples].sum(
        1
    )
    sampler = Sampler(lengths, config.batch_size, seed)
    total = config.steps or max(1, math.ceil(config.epochs * sampler.steps_per_epoch))
    parameters = [p for p in model.parameters() if p.requires_grad]
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    torch.manual_seed(seed)
    start, tokens, counted, sums = _resume(hooks.checkpoints, names, parameters, optimizer)
    # What a checkpoint holds already is not lost work: say so before anything can be killed.
    hooks.progress(start, total, {"step": start, "tokens": tokens})
    model.train()
    figures: dict[str, float] = {}
    for step in range(start, total):
        batch = sampler.batch(step)
        optimizer.param_groups[0]["lr"] = config.lr * rate(step, total, config)
        loss = torch.zeros((), device=device)
        for micro in np.array_split(batch, min(config.accumulation, len(batch))):
            rows = pack(
                table,
                examples[micro],
                pad_token_id=scorer.pad_token_id,
                share_prompts=scorer.share_prompts,
                device=device,
            )
            index = torch.from_numpy(micro).to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                part, metrics = backward(scorer, rows, index, objective, divisor=len(batch))
            loss += part
            tokens += rows.n_tokens
            for name, value in metrics.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        for name, value in (("loss", loss), ("grad_norm", norm)):
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach() * len(batch)
        counted += len(batch)
        last = step + 1 == total
        if step == 0 and first_loss is not None:
            _check_first_loss(float(loss), first_loss, dtype)
        if last or (step + 1) % config.log_every == 0:
            keys = list(sums)
            values = (
                torch.stack([sums[k].float() for k in keys]) / counted
            ).tolist()  # the one host sync of a logging step
            figures = {
                "step": step + 1,
                "lr": optimizer.param_groups[0]["lr"],
                "tokens": tokens,
                **dict(zip(keys, values)),
            }
            _check_finite(figures)
            sums, counted = {}, 0
            hooks.log(figures)
            hooks.progress(step + 1, total, figures)
            for callback in hooks.callbacks:
                callback(figures)
        if hooks.checkpoints is not None and not last and (step + 1) % config.checkpoint_every == 0:
            facts = {"tokens": tokens, "counted": counted}
            _save(hooks.checkpoints, step + 1, facts, sums, names, parameters, optimizer)
    model.eval()
    return TrainResult(total, tokens, figures)


def rate(step: int, total: int, config: TrainConfig) -> float:
    """Learning rate of a step as a share of `config.lr`."""
    warm = config.warmup * total
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.schedule == "constant":
        return 1.0
    done = (step - warm) / max(total - warm, 1)
    fall = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.final_lr + (1.0 - config.final_lr) * fall


def _check_first_loss(loss: float, expected: float, dtype: str) -> None:
    tolerance = 0.05 if dtype == "bfloat16" else 1e-3
    if not abs(loss - expected) <= tolerance:
        raise NumericsError(
            f"the first loss must be {expected:.6f} within {tolerance}, because policy and reference are the same before "
            f"the first step; got {loss:.6f}: the reference log-probabilities belong to another model, tokenisation or dtype"
        )


def _check_finite(figures: Mapping[str, float]) -> None:
    bad = [name for name, value in figures.items() if not math.isfinite(value)]
    if bad:
        raise NumericsError(
            f"{', '.join(bad)} not finite at step {figures['step']}; lower the learning rate or look for broken rows"
        )


def _save(
    checkpoints: Checkpoints,
    step: int,
    facts: Mapping[str, int],
    sums: Mapping[str, Tensor],
    names: list[str],
    parameters: list[Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    tensors = {f"sums/{name}": value for name, value in sums.items()}
    for name, parameter in zip(names, parameters):
        tensors[f"parameter/{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer/{key}/{name}"] = value
    random_tensors, random_facts = capture_random_state()
    checkpoints.save(step, {**tensors, **random_tensors}, {**facts, "random": random_facts})


def _resume(
    checkpoints: Checkpoints | None,
    names: list[str],
    parameters: list[Tensor],
    optimizer: torch.optim.Optimizer,
) -> tuple[int, int, int, dict[str, Tensor]]:
    """(finished steps, tokens, examples since the last logged step, sums of their figures)."""
    found = checkpoints.latest() if checkpoints is not None else None
    if found is None:
        return 0, 0, 0, {}
    step, tensors, facts = found
    with torch.no_grad():
        for name, parameter in zip(names, parameters):
            parameter.copy_(tensors[f"parameter/{name}"])
            prefix, suffix = "optimizer/", f"/{name}"
            optimizer.state[parameter] = {
                key[len(prefix) : -len(suffix)]: value.to(parameter.device)
                if value.ndim or optimizer.defaults["fused"]  # a fused optimiser counts steps on the device
                else value
                for key, value in tensors.items()
                if key.startswith(prefix) and key.endswith(suffix)
            }
    restore_random_state(tensors, facts["random"])
    device = parameters[0].device
    sums = {k.removeprefix("sums/"): v.to(device) for k, v in tensors.items() if k.startswith("sums/")}
    return step, int(facts["tokens"]), int(facts.get("counted", 0)), sums
