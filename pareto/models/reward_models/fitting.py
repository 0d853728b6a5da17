"""Training a reward model: its head alone on states computed once, or head and backbone together."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pareto.core.checkpointing import RunState, resume_run, save_run
from pareto.core.logps import make_scorer
from pareto.core.loop import Hooks, TrainResult
from pareto.core.optimizer import TrainConfig, adamw, clip, rate, set_rate, trainable
from pareto.core.parallel import Processes
from pareto.core.sampler import Sampler
from pareto.errors import NumericsError
from pareto.models.reward_models.heads import numbers
from pareto.models.reward_models.reading import StepTable, all_states, states

ReadLoss = Callable[[Tensor, np.ndarray, np.ndarray], Tensor]
"""([R, m] numbers at the reads of a batch, [R] which reads, [B] which examples) -> losses, of which the mean is taken."""


def fit_head(
    model: object,
    head: nn.Module,
    steps: StepTable,
    examples: np.ndarray,
    loss: ReadLoss,
    config: TrainConfig,
    *,
    seed: int,
    dtype: str = "float32",
    hooks: Hooks | None = None,
) -> TrainResult:
    """Minimise the mean loss over examples; head and trainable parameters of the backbone change in place.

    A backbone without trainable parameters is read once. Several processes all do the whole work, with the same result.

    Args:
        model: the backbone on its device.
        head: [n, d] -> [n, m].
        steps: replies and where they are read.
        examples: [n, K] int64, response indices: K = 2 for pairs.
        loss: of the numbers that the head gives.
        config: optimisation.
        seed: order of the data.
        dtype: "bfloat16" runs the backbone under autocast; head and loss stay float32.
        hooks: progress, logging, checkpoints.

    Raises:
        NumericsError: a loss that is not finite, with its step.
    """
    hooks = hooks or Hooks()
    backbone: nn.Module = model  # type: ignore[assignment]
    device = next(backbone.parameters()).device
    head.to(device).train()
    parameters = trainable(backbone, head)
    frozen = all(p.requires_grad is False for p in backbone.parameters())
    known = all_states(model, steps, dtype=dtype) if frozen else None
    scorer = None if frozen else make_scorer(model)
    lengths = steps.table.prompts.lengths[steps.table.prompt_of[examples[:, 0]]]
    sampler = Sampler(lengths + steps.table.responses.lengths[examples].sum(1), config.batch_size, seed)
    total = config.steps or max(1, math.ceil(config.epochs * sampler.steps_per_epoch))
    torch.manual_seed(seed)
    state = RunState(parameters, head, adamw(parameters, head, config))
    alone = Processes()
    start, facts, _ = resume_run(hooks.checkpoints, state, alone)
    tokens = facts.get("tokens", len(steps.table.responses.flat) if frozen else 0)
    backbone.train(not frozen)
    figures: dict[str, float] = {}
    for step in range(start, total):
        batch = sampler.batch(step)
        set_rate(state.optimizer, share := rate(step, total, config))
        reads = steps.reads_of(examples[batch].ravel())
        if known is not None:
            hidden = known[torch.from_numpy(reads).to(device)]
        else:
            assert scorer is not None
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
                hidden, seen = states(scorer, steps, examples[batch], device)
            tokens += seen
        value = loss(numbers(head, hidden), reads, batch).mean()
        value.backward()
        clip(parameters.values(), config.clip)
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        last = step + 1 == total
        if last or (step + 1) % config.log_every == 0:
            figures = {
                "step": step + 1,
                "lr": config.lr * share,
                "tokens": tokens,
                "loss": float(value.detach()),
            }
            if not math.isfinite(figures["loss"]):
                raise NumericsError(
                    f"loss of the reward model not finite at step {step + 1}; lower the learning rate or look for broken rows"
                )
            hooks.log(figures)
            hooks.progress(step + 1, total, figures)
        if hooks.checkpoints is not None and not last and (step + 1) % config.checkpoint_every == 0:
            save_run(hooks.checkpoints, step + 1, state, {"tokens": tokens}, {}, alone)
    backbone.eval()
    head.eval()
    return TrainResult(total, tokens, figures)
