"""Pairs of a policy's own replies, scored by the objectives' rewards: for methods that train in rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pareto import rng
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.errors import ConfigError, DataError
from pareto.models.generate import Sampling
from pareto.models.rewards import build_reward, evaluate
from pareto.tasks.text.objectives import ObjectiveSpec, TextObjectives
from pareto.tasks.text.replies import write_replies

Score = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(prompts, replies) -> [B] float64, larger is better."""


def draw_pairs(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    prompt_ids: Ragged,
    objectives: TextObjectives,
    sampling: Sampling,
    n: int,
    seed: int,
) -> tuple[PreferencePairs, np.ndarray]:
    """Draw two replies to each of n prompts and let the rewards label them.

    Args:
        model: the policy, on its device.
        tokenizer: its tokenizer.
        prompts: training prompts as people read them.
        prompt_ids: the same as tokens.
        objectives: each with a reward, or derived from one.
        sampling: how replies are drawn; at temperature 0, where all replies would be one, the temperature is 1.
        n: prompts drawn, with replacement.
        seed: of all draws.

    Returns:
        the pairs whose replies differ, each objective's better-scored reply preferred, and [n_responses, m] scores, larger
        is better, divided by each objective's scale.

    Raises:
        ConfigError: an objective without a reward.
        DataError: the policy says the same twice, whatever the prompt.
    """
    scores = [_score(spec, tokenizer) for spec in objectives.specs]
    drawn = rng.generator("text", seed, "fresh prompts").integers(len(prompts), size=n)
    asked = [int(i) for i in np.repeat(drawn, 2)]
    hot = sampling if sampling.temperature > 0 else sampling.model_copy(update={"temperature": 1.0})
    ids = [prompt_ids[i].tolist() for i in asked]
    replies = write_replies(model, tokenizer, [prompts[i] for i in asked], ids, hot, seed=seed)
    table = ResponseTable(prompt_ids, Ragged.of(replies.ids), np.array(asked))
    rewards = np.column_stack([score(replies.prompts, replies.texts) for score in scores])
    a = np.array([2 * i for i in range(n) if list(replies.ids[2 * i]) != list(replies.ids[2 * i + 1])])
    if not len(a):
        raise DataError(f"the policy gave the same reply twice to each of {n} prompts; no pair can be made")
    labels = np.sign(rewards[a] - rewards[a + 1]).astype(np.float32)
    return PreferencePairs(objectives, table, a, a + 1, labels), rewards


def _score(spec: ObjectiveSpec, tokenizer: Any) -> Score:
    plan = spec.derive or spec.reward
    if plan is None:
        raise ConfigError(
            f"fresh pairs need a reward for every objective; {spec.name!r} is labelled by the data: give it derive or reward"
        )
    scorer = build_reward(plan).bind(tokenizer)
    direction = scorer.direction if spec.derive is not None else spec.direction or scorer.direction
    sign = 1.0 if direction == "max" else -1.0
    return lambda prompts, replies: sign * evaluate(scorer, prompts, replies) / spec.scale
