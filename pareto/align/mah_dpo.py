"""MAH-DPO: an action head per objective on one backbone, trained in one job; weights mix the heads afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.align.preference_job import (
    LN2,
    Reference,
    begin_policy,
    device_tensor,
    pair_logps,
    pair_metrics,
)
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.core.losses.dpo import dpo
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.objective import Objective, ScoredExamples
from pareto.data.pairs import PreferencePairs
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA, save_policy
from pareto.models.heads import Heads, LowRankHeads, attach_heads, mark_examples
from pareto.objectives import Objectives
from pareto.policy_set import PolicySet
from pareto.pricing import settings_price
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints


@METHODS.register("mah_dpo", source="Li et al. (2025), multi-action-head DPO, arXiv 2510.01167")
class MAHDPO(Config):
    """Direct preference optimisation of K action heads on one backbone: one job, and a policy for every weight vector.

    Head j learns the pairs D_j that have a winner under objective j, and all heads' gradients meet in the backbone:

        L = sum_j lambda_j mean over D_j of -log sigmoid(beta (log pi_j / pi_ref (chosen) - log pi_j / pi_ref (rejected)))

    The policy for weights w has the logits sum_j w_j W_j h. Its cells train nothing: they need the one that trained the
    heads. At a corner it is that objective's head; between them it is the normalised product of pi_j^w_j, token by token,
    which is near ref exp(w.r / beta) but not equal to it, since tokens are normalised one by one.

    Sampling: sets of different sizes stay whole. In an epoch every objective has as many examples as the largest set; a
    smaller one is gone through as often as that takes, the last time in part (a seeded draw). A pair belongs to every
    objective under which it has a winner; ties and unknown labels are left out. Steps average over a shuffled batch of all
    objectives, so that a loss is K lambda_j times the pair's own.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`; 0 is the paper's loss. Wants pairs sampled from the
            reference.
        loss_weights: objective -> lambda_j > 0; None is 1/K each, the paper's.
        heads: whole matrices or low-rank ones.
        training: optimisation of the one job.
        adapter: what of the backbone is trained. The reference's head is not, nor the input embedding where it is tied.

    Source: Li et al. (2025), arXiv 2510.01167, Eq. of L_MAH-DPO; beta 0.1 is its code's. Differences from the paper: low-rank
    heads, LoRA; the paper's text mixes probabilities, its code logits, and so do we. Differences from the released code: its
    lambda_j is 1 over the number of objectives present in a rank's micro-batch (a mean of means, which weighs a pair by its
    neighbours), here it is a constant; its sets are cut to the smallest; its policy heads start with noise and the
    reference's without; it computes every head on all rows and positions; a supervised start is not loaded into heads >= 1,
    and often not at all (strict=False); prompts of two of three domains get the template of the third; a head whose loss
    fails is dropped with a line in a log; AdamW instead of RMSprop.
    """

    name: Literal["mah_dpo"] = "mah_dpo"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    loss_weights: Mapping[str, Annotated[float, Field(gt=0)]] | None = None
    heads: Heads = LowRankHeads()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the heads, and a mixture of them per weight vector."""
        self.lambdas(task.objectives)
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name"})}
        mixed = {"method": self.name, "mixture": "logits"}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        cells = [reference]
        for seed in seeds:
            heads = Cell("prerequisite", "method", spec, {"reference": reference.id}, seed=seed)
            needs = {"reference": reference.id, "heads": heads.id}
            cells += [heads, *(Cell("policy", "method", mixed, needs, w, seed) for w in named)]
        return cells

    def price(self, cell: Cell, task: Any) -> Cost:
        """Every objective has as many examples as there are pairs; mixtures train nothing."""
        sizes = task.sizes()
        return settings_price(cell.spec, replace(sizes, pairs=len(task.objectives) * sizes.pairs))

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the heads, or serve them at one weight vector."""
        return self._train_heads(cell, task, context) if cell.weights is None else self._mix(cell, context)

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

    def lambdas(self, objectives: Objectives) -> np.ndarray:
        """[K] weight of every objective's loss.

        Raises:
            ObjectiveError: `loss_weights` does not name exactly the objectives.
        """
        k = len(objectives)
        return np.full(k, 1.0 / k) if self.loss_weights is None else objectives.vector(self.loss_weights)

    def _train_heads(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        objectives: Objectives = task.objectives
        reference = Reference(task, context.needs["reference"], context)
        examples, owner = own_examples(reference.pairs, seed=cell.seed)
        model = begin_policy(reference, self.adapter, cell)
        bank = attach_heads(model, self.heads, len(objectives), seed=cell.seed)
        table, marked = mark_examples(reference.pairs.table, examples, owner, bank.stride)
        ref_logps = device_tensor(reference.logps[examples], context.device)
        scale = (len(objectives) * self.lambdas(objectives))[owner]
        factor = device_tensor(scale, context.device)

        def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
            pairs = pair_logps(scored, ref_logps)
            values = dpo(pairs, beta=self.beta)
            if self.mass_anchor:
                values = values + self.mass_anchor * mass_anchor(pairs)
            return factor[scored.index] * values, pair_metrics(pairs, self.beta)

        result = train(
            model,
            table,
            marked,
            Objective(loss),
            self.training,
            seed=cell.seed,
            dtype=context.dtype,
            first_loss=LN2 - self.mass_anchor if np.allclose(scale, 1.0) else None,
            hooks=Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch)),
        )
        bank.release(model)
        save_policy(model, context.folder)
        bank.save(context.folder, objectives.names)
        return Fitted(cost=Cost(train_tokens=result.tokens))

    def _mix(self, cell: Cell, context: FitContext) -> Fitted:
        weights = dict(cell.weights or {})
        share_files(context.needs["heads"], context.folder)
        stored = {"kind": "heads", "weights": weights, "beta": self.beta}
        atomic.write_json(context.folder / "policy.json", stored)
        return Fitted((PolicyFiles(cell.id, "heads", context.folder, weights, extra={"beta": self.beta}),))


def own_examples(pairs: PreferencePairs, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Examples of all objectives, equally many of each; none is cut to the smallest set.

    Args:
        pairs: with a label per objective; ties and unknown labels are left out.
        seed: of which examples of a smaller set come once more.

    Returns:
        [n, 2] int64 response indices (winner, loser), and [n] int64 number of the objective of each.

    Raises:
        ObjectiveError: no pair has a winner under some objective.
    """
    sets = [np.column_stack(pairs.decided(name)[1:]) for name in pairs.objectives.names]
    most = max(map(len, sets))
    grown = []
    for name, own in zip(pairs.objectives.names, sets):
        times, rest = divmod(most, len(own))
        again = rng.generator("mah_dpo", seed, name).permutation(len(own))[:rest]
        grown.append(own[np.concatenate([np.tile(np.arange(len(own)), times), np.sort(again)])])
    return np.concatenate(grown), np.repeat(np.arange(len(sets)), most)


def share_files(source: Path, folder: Path) -> None:
    """Give a folder the files of another one without taking the room twice: as hard links where the disk can do that.

    Files of a run folder are replaced, never changed, so that links are as good as copies.
    """
    for path in sorted(p for p in source.iterdir() if p.is_file()):
        try:
            os.link(path, folder / path.name)
        except OSError:  # another disk, or one without links
            shutil.copyfile(path, folder / path.name)
