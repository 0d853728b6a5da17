"""A whole front from one run: a policy that is told the weights, trained over sampled weights with exact optima."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pareto import rng
from pareto.align.conditioned_loss import ConditionedLoss, Inner
from pareto.align.mah_dpo import share_files
from pareto.align.preference_job import (
    LN2,
    Reference,
    begin_policy,
    device_tensor,
)
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.core.layout import viewed
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.core.objective import Objective
from pareto.core.packing import PackedRows
from pareto.errors import ObjectiveError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA, save_policy
from pareto.models.conditioned import ConditionedHeadConfig, attach_conditioned, release, save_conditioned
from pareto.policy_set import PolicySet
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints


@METHODS.register(
    "modpo_conditioned",
    source="this suite; the optimum is that of Zhou et al. (2024), arXiv 2310.03708, at every weight vector",
)
class MODPOConditioned(Config):
    """One run that serves every weight vector on the simplex.

    The policy's head is told the weights (`pareto.models.conditioned`), its backbone is not: one pass of the backbone scores a
    pair under all m corners and under `views` weight vectors drawn for it from a Dirichlet distribution. What is minimised
    has  pi_ref exp(w.r / beta)  as its population optimum at every w (`pareto.align.conditioned_loss`):

    - the corner of objective j learns the labels of objective j by DPO: every label of a pair is used, in the same pass;
    - between corners the log-ratios are drawn to  sum_j w_j r_j, where r_j is the corner's own implicit reward at that moment
      (margins "implicit") or the task's (margins "explicit"). No other adapter is trained first, and none is kept.

    Policies of given weights train nothing: their cells need the one that trained.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor` at all views. Wants pairs sampled from the reference.
        margins: where the rewards that inner weights are drawn to come from; with "explicit" corners learn them too, and
            labels are not read.
        inner: "distance" draws the implicit reward gap of a pair to the weighted one; "margin" is MODPO's loss, with every
            label of the pair at its objective's weight.
        views: sampled weight vectors of every pair, beside the corners.
        concentration: of the Dirichlet distribution they are drawn from; 1 is uniform on the simplex.
        head: form of the weight-conditioned update.
        training: optimisation of the one job.
        adapter: what of the backbone is trained.

    Source: this suite; Zhou et al. (2024), Eq. 11 for "margin". A weighted sum of DPO losses, which conditioned policies of
    the literature are trained with (arXiv 2410.08316, 2501.13836), has another optimum. Beta as in `modpo`.
    """

    name: Literal["modpo_conditioned"] = "modpo_conditioned"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    margins: Literal["implicit", "explicit"] = "implicit"
    inner: Inner = "distance"
    views: int = Field(default=2, ge=1)
    concentration: float = Field(default=1.0, gt=0)
    head: ConditionedHeadConfig = ConditionedHeadConfig()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference; per seed the one job, and a policy of it per weight vector."""
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name"})}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        cells = [reference]
        for seed in seeds:
            front = Cell("prerequisite", "method", spec, {"reference": reference.id}, seed=seed)
            needs = {"reference": reference.id, "front": front.id}
            cells += [front]
            cells += [Cell("policy", "method", {"method": self.name}, needs, w, seed) for w in named]
        return cells

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train the front, or serve it at one weight vector."""
        if cell.weights is None:
            return self._train_front(cell, task, context)
        weights = dict(cell.weights)
        share_files(context.needs["front"], context.folder)
        facts = {"kind": "conditioned", "weights": weights, "beta": self.beta}
        atomic.write_json(context.folder / "policy.json", facts)
        policy = PolicyFiles(cell.id, "conditioned", context.folder, weights, extra={"beta": self.beta})
        return Fitted((policy,))

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

    def _train_front(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        objectives, folder = task.objectives, context.needs["reference"]
        m = len(objectives)
        reference = Reference(task, folder, context)
        pairs = reference.pairs
        rewards = task.load_rewards(folder) if self.margins == "explicit" else None
        examples = np.column_stack([pairs.a, pairs.b])
        gaps = None if rewards is None else rewards[examples[:, 0]] - rewards[examples[:, 1]]
        known = np.nan_to_num(pairs.labels) != 0 if gaps is None else np.isfinite(gaps)
        if not (some := known.any(axis=0)).all():
            missing = objectives.names[int(np.argmin(some))]
            raise ObjectiveError(f"no pair says anything about objective {missing!r}")
        kept = np.flatnonzero(known.any(axis=1))
        examples = examples[kept]
        drawn = rng.generator("modpo_conditioned", cell.seed)
        weights = drawn.dirichlet(np.full(m, self.concentration), size=(len(kept), self.views))

        def on_device(array: np.ndarray) -> Tensor:
            return device_tensor(array, context.device)

        loss = ConditionedLoss(
            on_device(reference.logps[examples]),
            on_device(pairs.labels[kept]),
            on_device(weights),
            None if gaps is None else on_device(gaps[kept]),
            beta=self.beta,
            inner=self.inner,
            mass_anchor=self.mass_anchor,
        )
        model = begin_policy(reference, self.adapter, cell)
        head = attach_conditioned(model, self.head, m, seed=cell.seed)
        corners = torch.eye(m, device=context.device)

        def layout(rows: PackedRows, index: Tensor) -> tuple[PackedRows, Tensor]:
            beside = torch.cat([corners.expand(len(index), m, m), loss.weights[index]], dim=1)
            return viewed(rows, beside), index

        result = train(
            model,
            pairs.table,
            examples,
            Objective(loss, layout=layout),
            self.training,
            seed=cell.seed,
            dtype=context.dtype,
            hooks=Hooks(context.progress, context.log, checkpoints=Checkpoints(context.scratch)),
            first_loss=LN2 - self.mass_anchor
            if known.all() and gaps is None and self.inner == "distance"
            else None,
        )
        release(model, head)
        save_policy(model, context.folder)
        save_conditioned(head, self.head, objectives.names, context.folder)
        return Fitted(cost=Cost(train_tokens=result.tokens))
