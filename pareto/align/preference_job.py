"""What every pair-trained method does the same way: read the reference and its pairs, train a policy, store it.

Not a method: methods compose these functions.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pareto import rng
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.core.losses.base import PairLogps
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.reference import cached_logps, logps_key
from pareto.data.pairs import PreferencePairs
from pareto.errors import ConfigError
from pareto.models.adapters import FullFineTuning, LoRA, attach, reattach, save_policy
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints

PAIRS, REWARDS = "pairs.npz", "rewards.npy"
"""What a cell that samples pairs makes."""


@dataclass(frozen=True)
class Reference:
    """The frozen starting point of a job: its model, its pairs, its log-probabilities.

    Args:
        task: a `PreferenceTask`.
        folder: what the task's "reference" cell made.
        context: device, dtype, scratch space.
    """

    task: Any
    folder: Path
    context: FitContext

    @cached_property
    def pairs(self) -> PreferencePairs:
        """Training pairs: those the job itself needs as "pairs", else the task's."""
        own = self.context.needs.get("pairs")
        return self.task.load_pairs(self.folder) if own is None else PreferencePairs.load(own / PAIRS)

    @cached_property
    def rewards(self) -> np.ndarray:
        """[n_responses, m] float64 rewards of the pairs' responses, NaN where there are none."""
        own = self.context.needs.get("pairs")
        return (
            self.task.load_rewards(self.folder) if own is None else np.load(own / REWARDS, allow_pickle=False)
        )

    def model(self) -> Any:
        """A fresh copy of the reference model on the job's device."""
        return self.task.load_reference(self.folder, self.context.device, self.context.dtype)[0]

    @cached_property
    def sha256(self) -> str:
        """Digest of the reference's weights."""
        return json.loads((self.folder / "reference.json").read_text())["sha256"]

    @cached_property
    def token_logps(self) -> np.ndarray:
        """[response tokens] float32, nats: of the reference, from the cache where it is there."""
        table = self.pairs.table
        key = logps_key(self.sha256, table, self.context.dtype)
        stored = self.folder if (self.folder / f"logps-{key[:20]}.npy").exists() else self.context.scratch
        return cached_logps(
            stored, key, lambda: response_logps(self.model(), table, dtype=self.context.dtype)
        )

    @cached_property
    def logps(self) -> np.ndarray:
        """[n_responses] float64, nats: reference log-probability of every response."""
        return sums(self.pairs.table, self.token_logps)


def pair_logps(scored: ScoredExamples, ref_logps: Tensor, margin: Tensor | None = None) -> PairLogps:
    """Scored examples of (chosen, rejected) with their reference log-probabilities.

    Args:
        scored: examples of K = 2 responses.
        ref_logps: [n, 2] float32 on the same device, rows by example index.
        margin: [n] float32, or None.
    """
    ref = ref_logps[scored.index]
    return PairLogps(
        scored.logps[:, 0],
        scored.logps[:, 1],
        ref[:, 0],
        ref[:, 1],
        scored.lengths[:, 0],
        scored.lengths[:, 1],
        margin=None if margin is None else margin[scored.index],
        example_id=scored.index,
    )


def pair_metrics(pairs: PairLogps, beta: float) -> dict[str, Tensor]:
    """Per-pair figures under the names users of TRL know, and the ranking accuracy of the policy alone.

    Args:
        pairs: log-probabilities of B pairs.
        beta: of the implicit reward beta * log(pi / pi_ref).
    """
    with torch.no_grad():
        chosen, rejected = beta * pairs.chosen_ratio, beta * pairs.rejected_ratio
        return {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
            "ranking_accuracy": (pairs.chosen_logps > pairs.rejected_logps).float(),
            "logps/chosen": pairs.chosen_logps,
            "logps/rejected": pairs.rejected_logps,
        }


def sample_pairs(task: Any, cell: Cell, context: FitContext, n: int) -> Fitted:
    """Draw pairs from the reference and let the task's rewards label them: for methods whose user has no pairs.

    Args:
        task: a `pareto.align.scalarized_dpo.SamplingTask`.
        cell: the prerequisite that others need as "pairs".
        context: needs "reference".
        n: about how many.

    Raises:
        ConfigError: the task cannot draw pairs.
    """
    if not hasattr(task, "fresh_pairs"):
        raise ConfigError(
            f"from_rewards samples pairs, which task {task.kind!r} cannot; give it pairs instead"
        )
    folder = context.needs["reference"]
    model, _ = task.load_reference(folder, context.device, context.dtype)
    pairs, rewards = task.fresh_pairs(folder, model, n, rng.derive_seed("from rewards", cell.seed) % 2**31)
    pairs.save(context.folder / PAIRS)
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(rewards, dtype=np.float64), allow_pickle=False)
    atomic.write_bytes(context.folder / REWARDS, buffer.getvalue())
    return Fitted(cost=Cost(generated_tokens=len(pairs.table.responses.flat)))


def fit_policy(
    reference: Reference,
    examples: np.ndarray,
    objective: Objective,
    train_config: TrainConfig,
    adapter: LoRA | FullFineTuning,
    cell: Cell,
    *,
    beta: float,
    first_loss: float | None = None,
    callbacks: tuple[Any, ...] = (),
) -> Fitted:
    """Train one policy from the reference and store it in the cell's folder.

    Beside the policy stand `policy.json` (weights, beta) and `rewards.safetensors`: its implicit reward
    beta * log(pi / pi_ref) of every response in the pairs, so that it can serve as a margin without another pass.

    A cell that was `restarted` begins with the parameters of the policy it needs as "start" and makes its share of the
    steps; the reference of the loss stays what it is.
    """
    context = reference.context
    model = begin_policy(reference, adapter, cell)
    if "start" in context.needs:
        first_loss = None
    train_config = shortened(train_config, cell.spec.get("share", 1.0), len(examples))
    hooks = Hooks(context.progress, context.log, callbacks, Checkpoints(context.scratch))
    result = train(
        model,
        reference.pairs.table,
        examples,
        objective,
        train_config,
        seed=cell.seed,
        dtype=context.dtype,
        first_loss=first_loss,
        hooks=hooks,
    )
    return store_policy(reference, model, cell, beta=beta, tokens=result.tokens)


def begin_policy(reference: Reference, adapter: LoRA | FullFineTuning, cell: Cell) -> Any:
    """The model to train: a copy of the reference, or the policy that a `restarted` cell needs as "start"."""
    start = reference.context.needs.get("start")
    if start is not None:
        return reattach(reference.model(), start)
    return attach(reference.model(), adapter, seed=rng.derive_seed("adapter", cell.seed) % 2**31)


def store_policy(
    reference: Reference, model: Any, cell: Cell, *, beta: float | None, tokens: int, generated: int = 0
) -> Fitted:
    """Write a trained policy into the cell's folder; see `fit_policy`.

    Args:
        reference: of the job.
        model: as trained.
        cell: whose policy it is.
        beta: at which ref * exp(w.r / beta) is what it was trained towards, 1/nats; None where there is no such beta, and
            then no implicit reward is stored.
        tokens: trained.
        generated: tokens sampled on the way.
    """
    context, table = reference.context, reference.pairs.table
    kind = save_policy(model, context.folder)
    if beta is not None:
        logps = sums(table, response_logps(model, table, dtype=context.dtype))
        store_implicit_rewards(context.folder, beta * (logps - reference.logps))
    weights = dict(cell.weights) if cell.weights is not None else None
    atomic.write_json(context.folder / "policy.json", {"kind": kind, "weights": weights, "beta": beta})
    policy = PolicyFiles(cell.id, kind, context.folder, weights, extra={"beta": beta})
    return Fitted((policy,), Cost(train_tokens=tokens, generated_tokens=generated))


def shortened(config: TrainConfig, share: float, n_examples: int) -> TrainConfig:
    """The same optimisation in a share of the steps, warm-up and decay included."""
    if share == 1.0:
        return config
    per_epoch = max(1, n_examples // config.batch_size)
    steps = config.steps or max(1, math.ceil(config.epochs * per_epoch))
    return config.model_copy(update={"steps": max(1, round(share * steps))})


def restarted(cell: Cell, start: str | None, share: float) -> Cell:
    """The same cell with a share of the steps, from the parameters of another policy.

    Args:
        cell: a policy's cell.
        start: id of the cell whose policy it starts from; None for the reference.
        share: of the steps, in (0, 1].
    """
    needs = cell.needs if start is None else {**cell.needs, "start": start}
    return replace(cell, spec={**cell.spec, "share": share}, needs=needs)


def store_implicit_rewards(folder: Path, rewards: np.ndarray) -> None:
    """Write [n_responses] rewards beside a policy."""
    from safetensors.numpy import save_file

    save_file({"rewards": rewards.astype(np.float32)}, folder / "rewards.safetensors")


def implicit_rewards(folder: Path) -> np.ndarray:
    """[n_responses] float64 rewards that `store_implicit_rewards` wrote."""
    from safetensors.numpy import load_file

    return load_file(folder / "rewards.safetensors")["rewards"].astype(np.float64)


def device_tensor(array: np.ndarray, device: str) -> Tensor:
    """A float32 tensor on the job's device."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


LN2 = math.log(2.0)
"""Loss of a Bradley-Terry pair before the first step: the policy still equals the reference."""


def corner_weights(objectives: Any, k: int) -> Mapping[str, float]:
    """All weight on objective k."""
    return objectives.named(np.eye(len(objectives))[k])
