"""The reward model that a method labels its own replies with: a cell of its own, trained once per seed.

Not a method: methods that sample plan such a cell and read what it made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pareto import rng
from pareto.align.preference_job import Reference
from pareto.cells import Cell, Cost, Fitted
from pareto.config import Config
from pareto.core.loop import Hooks, TrainConfig
from pareto.errors import ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA, attach
from pareto.models.reward_models.heads import LinearHead, MLPHead
from pareto.models.reward_models.model import RewardForm, RewardModel, ends_only, load_reward_model
from pareto.models.reward_models.steps import WholeReply
from pareto.models.reward_models.training import train_pairs, train_ridge, train_values
from pareto.pricing import TextSizes, examples_seen, settings_price
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints

VALIDATION = 0.1
"""Share of the prompts whose replies are kept to choose and to measure."""


class RidgeReward(Config):
    """Linear heads in closed form on the frozen reference, for scored replies: seconds, whatever the model.

    Source: Wang et al. (2024), ArmoRM, arXiv 2406.12845, and its code.
    """

    kind: Literal["ridge"] = "ridge"


class ValueReward(Config):
    """A head trained on scored replies by squared error, and the backbone with it.

    Source: Wang et al. (2024), arXiv 2402.18571, multi-objective reward model. Differences: attributes that are missing are
    masked; the head has two layers.
    """

    kind: Literal["values"] = "values"
    head: MLPHead = MLPHead()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()


class PairReward(Config):
    """A Bradley-Terry score an objective, trained on labelled pairs, for data without scores.

    Source: Ouyang et al. (2022), arXiv 2203.02155, Eq. 1.
    """

    kind: Literal["pairs"] = "pairs"
    head: MLPHead = MLPHead()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()


RewardSource = Annotated[RidgeReward | ValueReward | PairReward, Field(discriminator="kind")]


def reward_cell(method: str, source: Any, reference: Cell, seed: int) -> Cell:
    """The cell that trains a reward model; methods with the same source share it."""
    spec = {"method": method, "part": "reward", "reward": source.model_dump(mode="json")}
    return Cell("prerequisite", "method", spec, {"reference": reference.id}, seed=seed)


def reward_price(cell: Cell, sizes: TextSizes) -> Cost:
    """What the reward model of a cell takes; nothing where the cell makes none.

    A ridge reads every reply once; what is learned from scores is trained on replies, what is learned from labels on pairs.
    """
    source = cell.spec.get("reward")
    if source is None:
        return Cost()
    if "training" not in source:
        return Cost(train_tokens=round(sizes.replies * sizes.response_tokens))
    if source["kind"] == "pairs":
        return settings_price(source, sizes)
    return Cost(train_tokens=sizes.of_replies(examples_seen(source["training"], sizes.replies)))


def train_reward(source: Any, reference: Reference, cell: Cell) -> Fitted:
    """Train and store the reward model of a cell, with how well it does on prompts that it did not see.

    Raises:
        ObjectiveError: the data give an objective no score, and scores are what is learned from.
    """
    context, task = reference.context, reference.task
    names = task.objectives.names
    model, tokenizer = task.load_reference(reference.folder, context.device, context.dtype)
    held = held_prompts(len(reference.pairs.table.prompts), cell.seed)
    hooks = Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch))
    how = {"seed": cell.seed, "dtype": context.dtype, "hooks": hooks}
    table = reference.pairs.table
    if isinstance(source, PairReward):
        form = RewardForm(objectives=names, output="score", steps=WholeReply(), head=source.head)
        pairs = np.column_stack([reference.pairs.a, reference.pairs.b])
        seen = ~held[table.prompt_of[pairs[:, 0]]]
        fitted, result = train_pairs(
            _backbone(model, source, cell), tokenizer, form, table, pairs[seen],
            reference.pairs.labels[seen], config=source.training, **how,
        )  # fmt: skip
        facts = {"accuracy": _accuracy(fitted, pairs[~seen], reference.pairs.labels[~seen], table, names)}
        tokens = result.tokens
    else:
        scores = task.load_rewards(reference.folder)
        if not (known := np.isfinite(scores)).any(0).all():
            missing = [n for n, k in zip(names, known.any(0)) if not k]
            raise ObjectiveError(
                f"the data score no reply under {', '.join(missing)}, and method.reward learns from scores; learn from the "
                "labels of pairs instead: reward {kind: pairs}"
            )
        held_replies = held[table.prompt_of]
        if isinstance(source, RidgeReward):
            form = RewardForm(objectives=names, steps=WholeReply(), head=LinearHead())
            fitted, ridge = train_ridge(model, tokenizer, form, table, scores, held_replies)
            facts = {"strength": dict(zip(names, ridge.strength.tolist()))}
            tokens = len(table.responses.flat)
        else:
            form = RewardForm(objectives=names, steps=WholeReply(), head=source.head)
            targets = np.where(held_replies[:, None], np.nan, scores)
            fitted, result = train_values(
                _backbone(model, source, cell), tokenizer, form, ends_only(table), targets,
                config=source.training, **how,
            )  # fmt: skip
            facts, tokens = {}, result.tokens
        facts["r2"] = _explained(fitted, scores, held_replies, table, names)
    fitted.save(context.folder, base=reference.sha256)
    atomic.write_json(context.folder / "reward_fit.json", facts)
    return Fitted(cost=Cost(train_tokens=tokens))


def stored_reward(folder: Path, reference: Reference) -> RewardModel:
    """The reward model that a reward cell made."""
    return load_reward_model(folder, reference.folder, device=reference.context.device)


def held_prompts(n: int, seed: int) -> np.ndarray:
    """[n] bool, prompts kept from training a reward model; one at least where there are two."""
    held = np.zeros(n, dtype=bool)
    held[rng.generator("reward validation", seed).permutation(n)[: max(n > 1, round(VALIDATION * n))]] = True
    return held


def _backbone(model: Any, source: ValueReward | PairReward, cell: Cell) -> Any:
    return attach(model, source.adapter, seed=rng.derive_seed("reward adapter", cell.seed) % 2**31)


def _explained(
    fitted: RewardModel, scores: np.ndarray, held: np.ndarray, table: Any, names: tuple[str, ...]
) -> dict[str, float | None]:
    """Share of the variance of held-out replies' scores that is explained, per objective."""
    rows = np.flatnonzero(held)[:20_000]
    found = fitted.at_reads(ends_only(_some(table, rows)))
    out: dict[str, float | None] = {}
    for j, name in enumerate(names):
        known = np.isfinite(scores[rows, j])
        spread = scores[rows, j][known].var() if known.sum() > 1 else 0.0
        error = np.mean((found[known, j] - scores[rows, j][known]) ** 2) if known.any() else 0.0
        out[name] = float(1.0 - error / spread) if spread > 0 else None
    return out


def _accuracy(
    fitted: RewardModel, pairs: np.ndarray, labels: np.ndarray, table: Any, names: tuple[str, ...]
) -> dict[str, float | None]:
    """Share of held-out decided pairs in the right order, per objective."""
    replies, where = np.unique(pairs, return_inverse=True)
    score = fitted.at_reads(ends_only(_some(table, replies)))[where.reshape(pairs.shape)]
    out: dict[str, float | None] = {}
    for j, name in enumerate(names):
        decided = np.nan_to_num(labels[:, j]) != 0
        right = (score[decided, 0, j] - score[decided, 1, j]) * labels[decided, j] > 0
        out[name] = float(right.mean()) if len(right) else None
    return out


def _some(table: Any, rows: np.ndarray) -> Any:
    from pareto.data.pairs import ResponseTable

    return ResponseTable(table.prompts, table.responses.take(rows), table.prompt_of[rows])
