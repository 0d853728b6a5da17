"""The ways to train a reward model, each from labelled replies to a `RewardModel`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pareto.core.loop import Hooks, TrainConfig, TrainResult
from pareto.data.pairs import ResponseTable
from pareto.errors import ShapeError
from pareto.models.reward_models.fitting import ReadLoss, fit_head
from pareto.models.reward_models.heads import LinearHead, build_head
from pareto.models.reward_models.losses import bradley_terry, squared_error, step_likelihood
from pareto.models.reward_models.model import Output, RewardForm, RewardModel, ends_only
from pareto.models.reward_models.reading import StepTable, all_states
from pareto.models.reward_models.ridge import Ridge, fit_ridge

Trained = tuple[RewardModel, TrainResult]


def train_values(
    model: Any, tokenizer: Any, form: RewardForm, steps: StepTable, targets: np.ndarray, **how: Any
) -> Trained:
    """Regress a number per objective at every read; see `pareto.models.reward_models.targets` for process targets.

    Args:
        model: backbone on its device; its trainable parameters are trained beside the head.
        tokenizer: its tokenizer.
        form: with output "value".
        steps: replies and their reads.
        targets: [n_reads, m], NaN where unknown.
        how: config, seed, dtype, hooks of `fit_head`.
    """
    wanted = _labels(form, "value", targets, int(steps.offsets[-1]), model)

    def loss(values: Tensor, reads: np.ndarray, examples: np.ndarray) -> Tensor:
        return squared_error(values, wanted[reads])

    return _train(model, tokenizer, form, steps, np.arange(len(steps.last))[:, None], loss, how)


def train_steps(
    model: Any, tokenizer: Any, form: RewardForm, steps: StepTable, labels: np.ndarray, **how: Any
) -> Trained:
    """Classify steps as good or bad, objective by objective.

    Args:
        model: as in `train_values`.
        tokenizer: its tokenizer.
        form: with output "probability".
        steps: replies and their reads.
        labels: [n_reads, m] in [0, 1], NaN where unknown.
        how: as in `train_values`.
    """
    wanted = _labels(form, "probability", labels, int(steps.offsets[-1]), model)

    def loss(values: Tensor, reads: np.ndarray, examples: np.ndarray) -> Tensor:
        return step_likelihood(values, wanted[reads])

    return _train(model, tokenizer, form, steps, np.arange(len(steps.last))[:, None], loss, how)


def train_pairs(
    model: Any,
    tokenizer: Any,
    form: RewardForm,
    table: ResponseTable,
    pairs: np.ndarray,
    labels: np.ndarray,
    **how: Any,
) -> Trained:
    """Learn Bradley-Terry scores of whole replies, one dimension an objective; `form.steps` says where they are read later.

    Args:
        model: as in `train_values`.
        tokenizer: its tokenizer.
        form: with output "score".
        table: replies, each with its end token.
        pairs: [n, 2] int64, response indices; both answer one prompt.
        labels: [n, m]: 1 where the first is better, -1 where the second is, 0 for a tie, NaN where unknown.
        how: as in `train_values`.
    """
    wanted = _labels(form, "score", labels, len(pairs), model)

    def loss(values: Tensor, reads: np.ndarray, examples: np.ndarray) -> Tensor:
        both = values.view(-1, 2, values.shape[1])
        return bradley_terry(both[:, 0], both[:, 1], wanted[examples])

    return _train(model, tokenizer, form, ends_only(table), pairs, loss, how)


def train_ridge(
    model: Any,
    tokenizer: Any,
    form: RewardForm,
    table: ResponseTable,
    targets: np.ndarray,
    validation: np.ndarray,
) -> tuple[RewardModel, Ridge]:
    """Fit a linear head on a frozen backbone's states at the end of replies, in closed form.

    Args:
        model: backbone on its device; it is not trained.
        tokenizer: its tokenizer.
        form: with output "value" and a linear head.
        table: replies, each with its end token.
        targets: [n_responses, m], NaN where an attribute is missing.
        validation: [n_responses] bool, replies that choose the strengths.

    Raises:
        ShapeError: the form is another one, or targets that do not fit.
    """
    if not isinstance(form.head, LinearHead):
        raise ShapeError("ridge regression fits a linear head; give head {kind: linear}")
    _labels(form, "value", targets, len(table.responses), model)
    features = all_states(model.requires_grad_(False), ends_only(table))
    found = fit_ridge(features.cpu().numpy(), targets, validation)
    head = build_head(form.head, features.shape[1], len(form.objectives), seed=0)
    head.load_state_dict(
        {"0.weight": torch.from_numpy(found.weight).float(), "0.bias": torch.from_numpy(found.bias).float()}
    )
    return RewardModel(model, tokenizer, head.to(features.device).eval(), form), found


def _labels(form: RewardForm, output: Output, labels: np.ndarray, n: int, model: Any) -> Tensor:
    """Labels as a tensor beside the model, after checking that they are of the form's kind and shape."""
    if form.output != output:
        raise ShapeError(f"these labels train a reward model whose output is {output!r}; got {form.output!r}")
    if labels.shape != (n, len(form.objectives)):
        raise ShapeError(
            f"expected labels of shape {[n, len(form.objectives)]}, one column for each of {', '.join(form.objectives)}; got "
            f"{list(labels.shape)}"
        )
    return torch.from_numpy(np.ascontiguousarray(labels, dtype=np.float32)).to(
        next(model.parameters()).device
    )


def _train(
    model: Any,
    tokenizer: Any,
    form: RewardForm,
    steps: StepTable,
    examples: np.ndarray,
    loss: ReadLoss,
    how: dict[str, Any],
) -> Trained:
    config: TrainConfig = how.pop("config")
    seed: int = how.pop("seed")
    hooks: Hooks | None = how.pop("hooks", None)
    width = model.config.get_text_config().hidden_size
    head: nn.Module = build_head(form.head, width, len(form.objectives), seed=seed)
    result = fit_head(model, head, steps, examples, loss, config, seed=seed, hooks=hooks, **how)
    trained = any(p.requires_grad for p in model.parameters())
    return RewardModel(model, tokenizer, head, form, trained), result
