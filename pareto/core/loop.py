"""The only training loop: AdamW on per-example losses of scored responses, in one process or several."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pareto import rng
from pareto.core.checkpointing import RunState, resume_run, save_run
from pareto.core.figures import Figures
from pareto.core.finite import FirstFault
from pareto.core.logps import Scorer, make_scorer
from pareto.core.objective import Objective
from pareto.core.optimizer import TrainConfig, adamw, clip, rate, set_rate, trainable
from pareto.core.packing import pack
from pareto.core.parallel import Processes, join, sharded_copy, take_over
from pareto.core.sampler import Sampler
from pareto.core.step import backward
from pareto.data.pairs import ResponseTable
from pareto.errors import NumericsError
from pareto.state.checkpoint import Checkpoints


@dataclass
class Hooks:
    """How a loop talks to its caller; all optional.

    Of several processes only the first reports, logs and writes checkpoints; callbacks are called in every one, with the
    same figures, so that one that raises stops them all.
    """

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
    clipped: Callable[[Iterable[nn.Parameter], float], Tensor] = clip,
) -> TrainResult:
    """Minimise the mean loss over examples; the trainable parameters of model and loss change in place.

    Started in several processes (see `pareto.core.parallel`) with the same arguments in each, it takes the same batches as
    one process would, and all processes end with the same model. With "fsdp2" a sharded copy is trained, and the model has
    its weights when the loop returns, not before.

    Args:
        model: a causal model on its device; parameters with `requires_grad` are trained.
        table: prompts and responses as token ids.
        examples: [n, K] int64, response indices; the K responses of an example answer one prompt.
        objective: per-example loss of scored examples. A coupled one looks across a micro-batch of one process.
        config: optimisation.
        seed: data order and every random number inside.
        dtype: "bfloat16" runs the forward pass under autocast; losses and sums stay float32.
        first_loss: known loss before the first step (ln 2 for DPO); a run that starts elsewhere is stopped, because its
            reference is not its start.
        hooks: progress, logging, callbacks, checkpoints.
        clipped: scales gradients down to `config.clip` in place and returns the norm before; policies that are trained beside
            each other are clipped one by one.

    Raises:
        NumericsError: a loss or gradient that is not finite (with the step), or a first loss off by more than 1e-3
            (0.05 in bfloat16 or on a base in 8 bits).
        ConfigError: `config.parallel` asks for processes that are not there.
    """
    hooks = hooks or Hooks()
    device = next(model.parameters()).device
    processes = join(config.parallel, device)
    policy = sharded_copy(model, device) if processes.sharded else model
    scorer = make_scorer(policy)
    learned = objective.module
    if learned is not None:
        learned.to(device).train()
    parameters = trainable(policy, learned)
    state = RunState(parameters, learned, adamw(parameters, learned, config))
    sampler = Sampler(_costs(table, examples), config.batch_size, seed)
    total = config.steps or max(1, math.ceil(config.epochs * sampler.steps_per_epoch))
    torch.manual_seed(seed if processes.first else rng.derive_seed("process", seed, processes.rank))
    start, facts, sums = resume_run(hooks.checkpoints, state, processes)
    meter = Figures(device, processes, sums, facts.get("counted", 0), facts.get("tokens", 0))
    if processes.first:
        # What a checkpoint holds already is not lost work: say so before anything can be killed.
        hooks.progress(start, total, {"step": start, "tokens": meter.tokens})
    # Eight bits round activations by what stands beside them in a batch.
    coarse = dtype == "bfloat16" or getattr(model, "is_loaded_in_8bit", False)
    figures: dict[str, float] = {}
    fault = FirstFault(device, total)
    with _ready(policy, config):
        for step in range(start, total):
            batch = sampler.batch(step)
            set_rate(state.optimizer, share := rate(step, total, config))
            loss = batch_gradient(
                scorer,
                table,
                examples,
                batch,
                objective,
                config.accumulation,
                parameters,
                processes,
                meter,
                dtype,
            )
            norm = clipped(parameters.values(), config.clip)
            fault.see(step, loss, norm)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            meter.add({"loss": loss * len(batch), "grad_norm": norm.detach() * len(batch) / processes.count})
            meter.counted += len(batch)
            last = step + 1 == total
            if step == 0 and first_loss is not None:
                processes.add([loss])
                _check_first_loss(float(loss), first_loss, coarse)
            saves = hooks.checkpoints is not None and not last and (step + 1) % config.checkpoint_every == 0
            logs = last or (step + 1) % config.log_every == 0
            if saves or logs:
                fault.check(sampler.batch)  # before anything is kept
            if logs:
                means = meter.take()
                figures = {"step": step + 1, "lr": config.lr * share, "tokens": meter.tokens, **means}
                _check_finite(figures)
                if processes.first:
                    hooks.log(figures)
                    hooks.progress(step + 1, total, figures)
                for callback in hooks.callbacks:
                    callback(figures)
            if hooks.checkpoints is not None and saves:
                meter.fold()
                counts = {"tokens": meter.tokens, "counted": meter.counted}
                save_run(hooks.checkpoints, step + 1, state, counts, meter.sums, processes)
    if processes.sharded:
        take_over(model, policy, device)
    if learned is not None:
        learned.eval()
    return TrainResult(total, meter.tokens, figures)


def batch_gradient(
    scorer: Scorer,
    table: ResponseTable,
    examples: np.ndarray,
    batch: np.ndarray,
    objective: Objective,
    accumulation: int,
    parameters: Mapping[str, nn.Parameter],
    processes: Processes,
    meter: Figures,
    dtype: str = "float32",
) -> Tensor:
    """Add the gradient of the mean loss of a batch to the parameters: in every process the whole of it.

    Args:
        scorer: how to score with the model.
        table: prompts and responses.
        examples: [n, K] int64.
        batch: [B] int64, rows of `examples`; the same in all processes.
        objective: the loss.
        accumulation: micro-batches.
        parameters: whose gradients the processes add up.
        processes: who takes part.
        meter: is told of metrics and tokens.
        dtype: "bfloat16" runs the forward pass under autocast.

    Returns:
        scalar, this process's part of the mean loss; the parts add up.
    """
    device = next(iter(parameters.values())).device
    buffers = dict(objective.module.named_buffers()) if objective.module is not None else {}
    before = {name: b.clone() for name, b in buffers.items()} if processes.count > 1 else {}
    loss = torch.zeros((), device=device)
    for micro in processes.share(batch, accumulation):
        rows = pack(
            table,
            examples[micro],
            pad_token_id=scorer.pad_token_id,
            share_prompts=scorer.share_prompts,
            device=device,
        )
        rows, index = objective.layout(rows, torch.from_numpy(micro).to(device))
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            part, metrics = backward(scorer, rows, index, objective, divisor=len(batch))
        loss += part
        meter.add_tokens(rows.n_tokens)
        meter.add(metrics)
    processes.add_gradients(parameters.values())
    if buffers:
        processes.merge_buffers(before, buffers)
    return loss


@contextmanager
def _ready(model: Any, config: TrainConfig):
    """The model in training mode, as the config wants it computed; in evaluation mode and as it was afterwards."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if config.gradient_checkpointing:
        # Without re-entrant automatic differentiation it needs no input with a gradient, so it serves adapters too.
        base.gradient_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        base.base_model.compile(dynamic=True)
    model.train()
    try:
        yield
    finally:
        model.eval()
        if config.gradient_checkpointing:
            base.gradient_checkpointing_disable()
        if config.compile:
            base.base_model._compiled_call_impl = None


def _costs(table: ResponseTable, examples: np.ndarray) -> np.ndarray:
    """[n] int64, tokens of each example, by which the sampler puts similar ones together."""
    return table.prompts.lengths[table.prompt_of[examples[:, 0]]] + table.responses.lengths[examples].sum(1)


def _check_first_loss(loss: float, expected: float, coarse: bool) -> None:
    tolerance = 0.05 if coarse else 1e-3
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
