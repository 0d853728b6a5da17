"""Rewards in context: supervised fine-tuning on replies behind the rewards they have; asked for high ones afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pareto import rng
from pareto.align.preference_job import Reference
from pareto.align.reward_job import (
    RewardSource,
    RidgeReward,
    reward_cell,
    reward_price,
    stored_reward,
    train_reward,
)
from pareto.align.told_job import (
    begin_told,
    drawn_replies,
    fine_tune_told,
    kept,
    numbers_of,
    said_table,
    serve_told,
    store_told,
    table_arrays,
    table_of,
    told_before,
    told_tokens,
)
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.data.pairs import Ragged, ResponseTable
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.conditioning import Targets, tenths
from pareto.models.generate import Sampling
from pareto.policy_set import PolicySet
from pareto.pricing import examples_seen
from pareto.state import atomic

SCALE = "reward_scale.json"
"""Mean and spread of every reward on the data, beside the policy of the first round."""


@METHODS.register("rewards_in_context", source="Yang et al. (2024), rewards in context, arXiv 2402.10207")
class RewardsInContext(Config):
    """One policy that is told which rewards its reply should have, trained on replies behind the rewards they do have.

    Offline: every reply of the data, behind its standardised rewards in tenths. Online rounds: prompts with wanted rewards
    near the front (all but one objective at the most, that one anywhere) are given to the policy, its replies are kept
    where some reward is at least the `keep` quantile of the data's, each behind the rewards it got, and trained on together
    with a share of the data's own. Weights become wanted rewards by `rule` (`pareto.models.conditioning.Targets`).

    Args:
        offline: replies of the data that are trained on; None: all of them.
        rounds: online rounds.
        draws: replies drawn in a round.
        keep: quantile of a reward on the data from which a drawn reply is kept.
        rehearsal: replies of the data that are trained on again in every round.
        low: quantile of a reward on the data that is wanted at weight 0.
        high: and at the largest weight.
        rule: how weights become wanted rewards.
        reward: where rewards come from.
        sampling: how replies are drawn.
        training: of the offline part.
        online_training: of a round.
        adapter: what is trained beside the embeddings of what is said.

    Source: Yang et al. (2024), arXiv 2402.10207, and its code: 1 or 2 rounds, quantile 0.7, one number after the decimal
    point, rule linf; there 20,000 draws and 10,000 of the data again in a round. Differences: numbers are said by tokens
    that no text can spell; low and high are quantiles of the data, there the extremes of 50,000 unseeded Gaussian draws;
    any number of objectives; replies are drawn in batches under a mask and end.
    """

    name: Literal["rewards_in_context"] = "rewards_in_context"
    offline: int | None = Field(default=None, ge=1)
    rounds: int = Field(default=2, ge=0)
    draws: int = Field(default=20_000, ge=1)
    keep: float = Field(default=0.7, ge=0, le=1)
    rehearsal: int = Field(default=10_000, ge=0)
    low: float = Field(default=0.05, ge=0, lt=1)
    high: float = Field(default=0.99, gt=0, le=1)
    rule: Literal["linf", "l2", "linear"] = "linf"
    reward: RewardSource = RidgeReward()
    sampling: Sampling = Sampling()
    training: TrainConfig = TrainConfig()
    online_training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the reward model, the offline policy, the online rounds, and the last told each weight."""
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name", "rounds", "reward"})}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        cells = [reference]
        for seed in seeds:
            cells.append(reward_cell(self.name, self.reward, reference, seed))
            needs = {"reference": reference.id, "reward": cells[-1].id}
            for t in range(self.rounds + 1):
                cells.append(Cell("prerequisite", "method", {**spec, "round": t}, needs, seed=seed))
                needs = {**needs, "before": cells[-1].id}
            told = {"reference": reference.id, "told": cells[-1].id}
            serve = {"method": self.name, "serve": "told"}
            cells += [Cell("policy", "method", serve, told, w, seed) for w in named]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """The replies of the data, or a round's draws, of which the share above `keep` is trained on with some of the data."""
        sizes = task.sizes()
        if "round" not in cell.spec:
            return reward_price(cell, sizes)
        if cell.spec["round"] == 0:
            seen = examples_seen(
                self.training.model_dump(), min(sizes.replies, self.offline or sizes.replies)
            )
            return Cost(train_tokens=told_tokens(sizes, task, seen))
        rows = round(self.draws * (1 - self.keep)) + min(sizes.replies, self.rehearsal)
        seen = examples_seen(self.online_training.model_dump(), rows)
        drawn = round(self.draws * sizes.response_tokens)
        return Cost(train_tokens=told_tokens(sizes, task, seen), generated_tokens=drawn)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the reward model, the offline policy or a round; or tell the last policy some weights."""
        if cell.weights is not None:
            return serve_told(cell, context, "simplex")
        reference = Reference(task, context.needs["reference"], context)
        if "round" not in cell.spec:
            return train_reward(self.reward, reference, cell)
        return self._offline(cell, reference) if cell.spec["round"] == 0 else self._online(cell, reference)

    def fit(self, model: Any, tokenizer: Any, rows: Any, **options: Any) -> PolicySet:
        """Fit a front on objects in memory; see `pareto.study.fitting.text.fit_text` for the options.

        Args:
            model: a Hugging Face causal model, its folder or its hub id.
            tokenizer: its tokenizer.
            rows: preference rows, or objective -> chosen/rejected rows.
            options: weights, out, callbacks, ...

        Returns:
            the policies, scored on prompts kept from training.
        """
        return FITTERS.get("text")(self, model, tokenizer, rows, **options)

    def _offline(self, cell: Cell, reference: Reference) -> Fitted:
        table = reference.pairs.table
        rewards = stored_reward(reference.context.needs["reward"], reference).of_table(table)
        scale = Scale.of(rewards, self.low, self.high, self.keep)
        told = begin_told(reference, scale.targets(self.rule), self.adapter, cell)
        rows = _some_rows(len(table.responses), self.offline, rng.generator("ric", cell.seed, "offline"))
        said = said_table(told[1], table, tenths(scale.standardised(rewards[rows])), rows)
        seed = rng.derive_seed("ric", cell.seed, 0) % 2**31
        result = fine_tune_told(told, said, self.training, reference, seed)
        return self._stored(told, reference, scale, result.tokens, 0)

    def _online(self, cell: Cell, reference: Reference) -> Fitted:
        context, t = reference.context, cell.spec["round"]
        scale = Scale.read(context.needs["before"])
        told = begin_told(reference, scale.targets(self.rule), self.adapter, cell)
        draw = rng.generator("ric", cell.seed, "round", t)

        def drawn() -> dict[str, np.ndarray]:
            rewards = stored_reward(context.needs["reward"], reference)
            prompts = np.unique(reference.pairs.table.prompt_of)
            which = prompts[draw.integers(len(prompts), size=self.draws)]
            goals = tenths(wanted_rewards(scale, self.draws, draw))
            seed = rng.derive_seed("ric replies", cell.seed, t) % 2**31
            replies, ended, tokens = drawn_replies(
                told_before(reference), reference, which, goals, self.sampling, seed
            )
            got = scale.standardised(numbers_of(rewards, replies))
            good = np.flatnonzero(ended & (got >= scale.keep).any(1))
            table = reference.pairs.table
            rows = _some_rows(len(table.responses), self.rehearsal, draw)
            old = scale.standardised(rewards.of_table(_taken(table, rows)))
            parts = [
                said_table(told[1], replies, tenths(got[good]), good),
                said_table(told[1], table, tenths(old), rows),
            ]
            return {**table_arrays(_joined(parts)), "tokens": np.array(tokens)}

        found = kept(context.scratch, drawn)
        seed = rng.derive_seed("ric", cell.seed, t) % 2**31
        result = fine_tune_told(told, table_of(found), self.online_training, reference, seed)
        return self._stored(told, reference, scale, result.tokens, int(found["tokens"]))

    def _stored(self, told: Any, reference: Reference, scale: Scale, tokens: int, generated: int) -> Fitted:
        store_told(told, reference.context.folder)
        scale.write(reference.context.folder)
        return Fitted(cost=Cost(train_tokens=tokens, generated_tokens=generated))


class Scale(Config):
    """What the data say of every reward.

    Args:
        mean: of the replies.
        std: of the replies.
        low: standardised reward wanted at weight 0.
        high: and at the largest weight.
        keep: standardised reward from which a drawn reply is kept.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    keep: tuple[float, ...]

    @classmethod
    def of(cls, rewards: np.ndarray, low: float, high: float, keep: float) -> Scale:
        """From the rewards [n, m] of the data; low, high and keep are quantiles."""
        mean, std = rewards.mean(0), np.maximum(rewards.std(0), 1e-9)
        z = (rewards - mean) / std
        edges = np.quantile(z, [low, high, keep], axis=0)
        # a reward that hardly varies still needs two numbers to ask for
        edges[1] = np.maximum(edges[1], edges[0] + 0.1)
        rows = (mean, std, *edges)
        return cls(**{k: tuple(map(float, row)) for k, row in zip(cls.model_fields, rows)})

    def standardised(self, rewards: np.ndarray) -> np.ndarray:
        """[n, m] rewards in standard deviations of the data."""
        return (rewards - np.array(self.mean)) / np.array(self.std)

    def targets(self, rule: Literal["linf", "l2", "linear"]) -> Targets:
        """How weights become wanted rewards."""
        return Targets(low=self.low, high=self.high, rule=rule)

    def write(self, folder: Path) -> None:
        """Store it beside a policy."""
        atomic.write_json(folder / SCALE, self.model_dump(mode="json"))

    @classmethod
    def read(cls, folder: Path) -> Scale:
        """Read what `write` wrote."""
        return cls.model_validate_json(json.dumps(json.loads((folder / SCALE).read_text())), strict=True)


def wanted_rewards(scale: Scale, n: int, draw: np.random.Generator) -> np.ndarray:
    """[n, m] standardised rewards near the front: all at the most but one, and that one anywhere between low and high."""
    low, high = np.array(scale.low), np.array(scale.high)
    wanted = np.tile(high, (n, 1))
    free = draw.integers(len(low), size=n)
    wanted[np.arange(n), free] = low[free] + draw.random(n) * (high - low)[free]
    return wanted


def _some_rows(n: int, most: int | None, draw: np.random.Generator) -> np.ndarray:
    return np.arange(n) if most is None or most >= n else np.sort(draw.permutation(n)[:most])


def _taken(table: ResponseTable, rows: np.ndarray) -> ResponseTable:
    return ResponseTable(table.prompts, table.responses.take(rows), table.prompt_of[rows])


def _joined(tables: Sequence[ResponseTable]) -> ResponseTable:
    """Tables one after the other, each with its own prompts."""
    prompts = [t.prompts[i] for t in tables for i in range(len(t.prompts))]
    replies = [t.responses[i] for t in tables for i in range(len(t.responses))]
    starts = np.cumsum([0, *(len(t.prompts) for t in tables)])
    owner = np.concatenate([t.prompt_of + start for t, start in zip(tables, starts)])
    return ResponseTable(Ragged.of(prompts), Ragged.of(replies), owner)
