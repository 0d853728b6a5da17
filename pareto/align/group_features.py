"""What group rewards are made of: known rewards of the objectives, or a frozen model's states."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, final

import numpy as np
from pydantic import Field

from pareto.align.preference_job import Reference
from pareto.align.scalarized_dpo import SamplingTask
from pareto.config import Config
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import ConfigError
from pareto.models.generate import Sampling, end_ids, generate_ids
from pareto.models.hidden_features import response_features


class Sampled(NamedTuple):
    """Features of replies drawn from the reference.

    `prompt` [n] int64 ascending; `features` [n, F] float64; `tokens` that were generated for them.
    """

    prompt: np.ndarray
    features: np.ndarray
    tokens: int


@final
class RewardFeatures(Config):
    """The task's reward vector: a group's reward is theta_u . r(x, y), a taste over the objectives.

    Few numbers, so few pairs a user tell groups apart. Needs a task that knows rewards: the lab, or objectives that are
    derived or scored.
    """

    kind: Literal["rewards"] = "rewards"

    def of_table(self, reference: Reference) -> np.ndarray:
        """[n_responses, m] float64, NaN where unknown."""
        return np.asarray(reference.task.load_rewards(reference.folder), dtype=np.float64)

    def of_draws(self, reference: Reference, n: int, seed: int) -> Sampled:
        """About n replies of the reference to training prompts.

        Raises:
            ConfigError: the task has no rewards for fresh replies.
        """
        task: Any = reference.task
        if not isinstance(task, SamplingTask):
            raise ConfigError(
                f"task {task.kind!r} knows no rewards of fresh replies; use features: {{kind: hidden}}"
            )
        pairs, rewards = task.fresh_pairs(reference.folder, reference.model(), n, seed)
        prompt = pairs.table.prompt_of[pairs.a]  # the first of each pair is an independent draw
        order = np.argsort(prompt, kind="stable")
        tokens = int(pairs.table.responses.lengths[np.concatenate([pairs.a, pairs.b])].sum())
        return Sampled(prompt[order], rewards[pairs.a[order]], tokens)


@final
class HiddenFeatures(Config):
    """Pooled states of the frozen reference: a group's reward is learned from choices alone, a linear head a group.

    Args:
        components: principal components that are kept; fewer are faster and need fewer pairs.
        prompts: at most so many prompts are replied to for calibration.
    """

    kind: Literal["hidden"] = "hidden"
    components: int = Field(default=64, ge=1)
    prompts: int = Field(default=128, ge=1)

    def of_table(self, reference: Reference) -> np.ndarray:
        """[n_responses, 3 d] float64."""
        return response_features(reference.model(), reference.pairs.table).astype(np.float64)

    def of_draws(self, reference: Reference, n: int, seed: int) -> Sampled:
        """About n replies of the reference, as many to each of the first training prompts."""
        task: Any = reference.task
        model, tokenizer = task.load_reference(
            reference.folder, reference.context.device, reference.context.dtype
        )
        table = reference.pairs.table
        prompts = min(self.prompts, len(table.prompts))
        owner = np.repeat(np.arange(prompts), max(2, n // prompts))
        replies = generate_ids(
            model,
            [table.prompts[int(i)].tolist() for i in owner],
            Sampling(max_new_tokens=int(table.responses.lengths.max()), batch_size=128),
            ends=end_ids(model, tokenizer),
            pad=tokenizer.pad_token_id or 0,
            seed=seed,
        )
        drawn = ResponseTable(table.prompts, Ragged.of(replies), owner)
        return Sampled(
            owner, response_features(model, drawn).astype(np.float64), int(drawn.responses.lengths.sum())
        )


Features = Annotated[RewardFeatures | HiddenFeatures, Field(discriminator="kind")]


def projection(features: np.ndarray, kept: int | None) -> np.ndarray:
    """[F, C] map to standardised features: all of them, or the principal components with the largest variance.

    Args:
        features: [n, F] without NaN.
        kept: C at most; None keeps the features themselves, each divided by its spread.
    """
    spread = features.std(axis=0)
    scale = np.where(spread > 1e-9, 1.0 / np.where(spread > 1e-9, spread, 1.0), 0.0)
    if kept is None:
        return np.diag(scale)
    centred = (features - features.mean(axis=0)) * scale
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(-values)[:kept]
    order = order[values[order] > 1e-9 * values.max()]
    return scale[:, None] * vectors[:, order] / np.sqrt(values[order])
