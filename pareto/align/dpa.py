"""DPA: one policy that is told a direction in reward space, made by rejection sampling along such directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

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
from pareto.cells import Cell, Cost, FitContext, Fitted, WeightsKind
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.data.pairs import ResponseTable
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.conditioning import Directions
from pareto.models.generate import Sampling
from pareto.models.reward_models.model import RewardModel
from pareto.policy_set import PolicySet
from pareto.pricing import examples_seen

Drawn = tuple[ResponseTable, np.ndarray, np.ndarray, int]
"""Candidates, their reward numbers [n, m] (minus infinity where unfinished), which draw each belongs to, tokens drawn."""


@METHODS.register("dpa", source="Wang et al. (2024), directional preference alignment, arXiv 2402.18571")
class DPA(Config):
    """Directional preference alignment: preference-conditioned rejection sampling fine-tuning, round after round.

    A preference is a unit vector v, and a reply is worth v.r(x, y); an objective with a negative weight is wanted less of. A
    reward model gives r. In every round prompts x and directions v are drawn, n replies y of the policy of the round before
    to (v, x) are drawn for each, the one with the largest v.r is kept, and the policy is fine-tuned on (v, x) -> y. Round 0
    takes its replies from the data. One job, and one policy that is told any direction.

    Directions are drawn uniformly from the half-sphere sum_j v_j >= 0: of two objectives, all from 45 degrees beyond either
    axis.

    Args:
        iterations: T, rounds after round 0.
        draws: pairs of prompt and direction in a round.
        candidates: n, replies drawn for each.
        reward: where r comes from.
        sampling: how replies are drawn.
        training: fine-tuning of one round.
        adapter: what is trained beside the embeddings of what is said.

    Source: Wang et al. (2024), arXiv 2402.18571, Algorithm 1; no training code was released. T = 4 is where the published
    run stops. draws, candidates and training are ours. Differences: weights are said in hundredths as there, but by tokens
    that no text can spell (`pareto.models.conditioning`) instead of a sentence; directions from the half-sphere instead of
    45 degrees around the first axis; attributes that are missing are masked. As in the paper there is no term that keeps the
    policy near its reference, so reported values should come from something else than the method's own reward model.
    """

    weights_kind: ClassVar[WeightsKind] = "direction"
    name: Literal["dpa"] = "dpa"
    iterations: int = Field(default=4, ge=0)
    draws: int = Field(default=4096, ge=1)
    candidates: int = Field(default=8, ge=2)
    reward: RewardSource = RidgeReward()
    sampling: Sampling = Sampling()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the reward model, the rounds one after the other, and the last told each direction."""
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name", "iterations", "reward"})}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        cells = [reference]
        for seed in seeds:
            cells.append(reward_cell(self.name, self.reward, reference, seed))
            needs = {"reference": reference.id, "reward": cells[-1].id}
            for t in range(self.iterations + 1):
                cells.append(Cell("prerequisite", "method", {**spec, "round": t}, needs, seed=seed))
                needs = {**needs, "before": cells[-1].id}
            told = {"reference": reference.id, "told": cells[-1].id}
            serve = {"method": self.name, "serve": "told"}
            cells += [Cell("policy", "method", serve, told, w, seed) for w in named]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """A round's draws, of the policy from round 1 on, and one reply of each trained on."""
        sizes = task.sizes()
        if "round" not in cell.spec:
            return reward_price(cell, sizes)
        seen = examples_seen(self.training.model_dump(), self.draws)
        drawn = self.draws * self.candidates * sizes.response_tokens if cell.spec["round"] else 0
        return Cost(train_tokens=told_tokens(sizes, task, seen), generated_tokens=round(drawn))

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the reward model, or one round; or tell the last policy one direction."""
        if cell.weights is not None:
            return serve_told(cell, context, "direction")
        reference = Reference(task, context.needs["reference"], context)
        if "round" not in cell.spec:
            return train_reward(self.reward, reference, cell)
        return self._round(cell, reference)

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

    def _round(self, cell: Cell, reference: Reference) -> Fitted:
        context = reference.context
        model, conditioning = begin_told(reference, Directions(), self.adapter, cell)

        def draw() -> dict[str, np.ndarray]:
            table, units, tokens = self._winners(cell, reference)
            rows = np.arange(len(table.responses))
            told = said_table(conditioning, table, units, rows)
            return {**table_arrays(told), "tokens": np.array(tokens)}

        found = kept(context.scratch, draw)
        seed = rng.derive_seed("dpa", cell.seed, cell.spec["round"]) % 2**31
        result = fine_tune_told((model, conditioning), table_of(found), self.training, reference, seed)
        store_told((model, conditioning), context.folder)
        return Fitted(cost=Cost(train_tokens=result.tokens, generated_tokens=int(found["tokens"])))

    def _winners(self, cell: Cell, reference: Reference) -> tuple[ResponseTable, np.ndarray, int]:
        """The reply that is best in the direction of each draw, what is said of the direction, and the tokens drawn."""
        t, m = cell.spec["round"], len(reference.pairs.objectives)
        draw = rng.generator("dpa", cell.seed, "draws", t)
        directions = half_sphere(m, self.draws, draw)
        rewards = stored_reward(reference.context.needs["reward"], reference)
        make = self._from_data if t == 0 else self._from_policy
        replies, values, owner, tokens = make(cell, reference, rewards, directions, draw)
        best = best_in_direction(values, directions, owner)
        chosen = best[best >= 0]
        units = np.stack([Directions().units(v) for v in directions[best >= 0]])
        table = ResponseTable(
            replies.prompts,
            replies.responses.take(chosen),
            replies.prompt_of[chosen],
        )
        return table, units, tokens

    def _from_data(
        self,
        cell: Cell,
        reference: Reference,
        rewards: RewardModel,
        directions: np.ndarray,
        draw: np.random.Generator,
    ) -> Drawn:
        """Candidates that the data hold: for each draw a prompt, and n of the replies that stand in its pairs."""
        pairs = reference.pairs
        replies = np.concatenate([pairs.a, pairs.b])
        order = np.argsort(pairs.table.prompt_of[replies], kind="stable")
        replies = replies[order]
        prompts, first, count = np.unique(
            pairs.table.prompt_of[replies], return_index=True, return_counts=True
        )
        which = draw.integers(len(prompts), size=len(directions))
        place = (draw.random((len(which), self.candidates)) * count[which, None]).astype(np.int64)
        candidates = replies[first[which, None] + place]
        used, where = np.unique(candidates, return_inverse=True)
        table = ResponseTable(
            pairs.table.prompts,
            pairs.table.responses.take(used),
            pairs.table.prompt_of[used],
        )
        values = rewards.of_table(table)[where.reshape(-1)]
        flat = ResponseTable(
            table.prompts,
            table.responses.take(where.reshape(-1)),
            table.prompt_of[where.reshape(-1)],
        )
        return flat, values, np.repeat(np.arange(len(which)), self.candidates), 0

    def _from_policy(
        self,
        cell: Cell,
        reference: Reference,
        rewards: RewardModel,
        directions: np.ndarray,
        draw: np.random.Generator,
    ) -> Drawn:
        """Candidates of the policy of the round before, told the direction."""
        prompts = np.unique(reference.pairs.table.prompt_of)
        which = prompts[draw.integers(len(prompts), size=len(directions))]
        owner = np.repeat(np.arange(len(which)), self.candidates)
        units = np.stack([Directions().units(v) for v in directions])
        seed = rng.derive_seed("dpa replies", cell.seed, cell.spec["round"]) % 2**31
        replies, ended, tokens = drawn_replies(
            told_before(reference), reference, which[owner], units[owner], self.sampling, seed
        )
        values = numbers_of(rewards, replies)
        values[~ended] = -np.inf
        return replies, values, owner, tokens


def half_sphere(m: int, n: int, draw: np.random.Generator) -> np.ndarray:
    """[n, m] unit vectors, uniform on the half-sphere sum_j v_j >= 0."""
    v = draw.standard_normal((n, m))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return np.where(v.sum(1, keepdims=True) < 0, -v, v)


def best_in_direction(values: np.ndarray, directions: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """[n] int64, for every direction the candidate of its own with the largest v.r; of equals the first.

    Args:
        values: [N, m] reward numbers; minus infinity where a candidate may not win.
        directions: [n, m].
        owner: [N] ascending, which direction each candidate was drawn for.

    Returns:
        -1 where no candidate may win.
    """
    allowed = np.isfinite(values.sum(axis=1))
    score = np.full(len(values), -np.inf)
    score[allowed] = np.einsum("nm,nm->n", values[allowed], directions[owner[allowed]])
    best = np.full(len(directions), -1, dtype=np.int64)
    for i in np.lexsort(
        (-np.arange(len(score)), score)
    ):  # ascending, so that the last one written is the best
        if allowed[i]:
            best[owner[i]] = i
    return best
