"""MODPO: a front of policies from pairs labelled under several objectives, one DPO-like job per weight vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from pareto.align.preference_job import (
    LN2,
    Reference,
    corner_weights,
    device_tensor,
    fit_policy,
    implicit_rewards,
    pair_logps,
    pair_metrics,
    restarted,
)
from pareto.cells import Cell, FitContext, Fitted
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.losses.modpo import modpo
from pareto.core.objective import Objective, ScoredExamples
from pareto.errors import ConfigError, NumericsError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.objectives import Objectives
from pareto.policy_set import PolicySet

Margin = Literal["implicit", "explicit"]


@METHODS.register(
    "modpo", source="Zhou et al. (2024), Beyond one-preference-fits-all alignment, arXiv 2310.03708"
)
class MODPO(Config):
    """Multi-objective direct preference optimisation.

    For weights w the trained objective k is the one with the largest weight, so w_k >= 1/m and nothing is divided by
    zero. Its pairs are fitted with the other objectives' weighted rewards as a margin (`pareto.core.losses.modpo`).
    Those rewards are implicit (beta * log(pi_j / pi_ref) of the corner policy of objective j, which is plain DPO on its
    pairs and is trained once) or explicit (given by the task). A corner is served by its own DPO policy.

    Args:
        beta: > 0, strength of the KL regularisation, 1/nats.
        mass_anchor: >= 0, weight of `pareto.core.losses.mass_anchor`, which keeps mass from drifting to texts no pair
            contains; 0 is the paper's loss. Wants pairs sampled from the reference.
        margins: where the other objectives' rewards come from; one answer for all, or one per objective.
        training: optimisation of every policy.
        adapter: LoRA or full fine-tuning.

    Source: Zhou et al. (2024), Eq. 11 and Algorithm 1. Differences: any m; the trained objective is chosen by weight
    instead of fixed, which the released code's w = 0 end needs; margins and reference log-probabilities are computed
    once on exactly the tokens that are trained on; beta 0.1 as in the paper's safety experiment.
    """

    name: Literal["modpo"] = "modpo"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    margins: Margin | Mapping[str, Margin] = "implicit"
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference, the corners that are wanted or needed as margins, then the weights between them."""
        reference = task.prerequisites()["reference"]
        wanted = [task.objectives.vector(w) for w in weights]
        cells = [reference]
        for seed in seeds:
            corners = {
                k: self._corner(task.objectives, k, reference, seed, wanted)
                for k in range(len(task.objectives))
            }
            inner = [
                self._inner(task.objectives, w, reference, corners, seed) for w in wanted if w.max() < 1.0
            ]
            needed = {need for cell in inner for need in cell.needs.values()}
            cells += [c for c in corners.values() if c.role == "policy" or c.id in needed]
            cells += inner
        return cells

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Fit the policy of one weight vector."""
        objectives, folder = task.objectives, context.needs["reference"]
        reference = Reference(task, folder, context)
        w = objectives.vector(cell.weights or {})
        k = int(w.argmax())
        _, chosen, rejected = reference.pairs.decided(objectives.names[k])
        examples = np.column_stack([chosen, rejected])
        margin = self._margin(objectives, w, k, context.needs, lambda: task.load_rewards(folder))
        gap = None
        if margin is not None:
            examples = examples[np.isfinite(margin[examples]).all(axis=1)]
            if not len(examples):
                raise NumericsError(
                    f"no pair of objective {objectives.names[k]!r} has a finite margin on both responses"
                )
            gap = device_tensor(margin[examples[:, 0]] - margin[examples[:, 1]], context.device)
        ref_logps = device_tensor(reference.logps[examples], context.device)

        def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
            pairs = pair_logps(scored, ref_logps, gap)
            values = modpo(pairs, beta=self.beta, objective_weight=float(w[k]))
            if self.mass_anchor:
                values = values + self.mass_anchor * mass_anchor(pairs)
            return values, pair_metrics(pairs, self.beta)

        first_loss = LN2 - self.mass_anchor if gap is None else None
        return fit_policy(
            reference,
            examples,
            Objective(loss),
            self.training,
            self.adapter,
            cell,
            beta=self.beta,
            first_loss=first_loss,
        )

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

    def restarted(self, cell: Cell, start: str | None, share: float) -> Cell:
        """The same cell with a share of the steps, from another policy's parameters (`None`: from the reference)."""
        return restarted(cell, start, share)

    def margin_of(self, objective: str) -> Margin:
        """Where the reward of an objective comes from when it is not the trained one.

        Raises:
            ConfigError: `margins` is a mapping without it.
        """
        if isinstance(self.margins, str):
            return self.margins
        if objective not in self.margins:
            raise ConfigError(
                f"method.margins must name every objective or be one word; missing: {objective!r}"
            )
        return self.margins[objective]

    def _corner(
        self, objectives: Objectives, k: int, reference: Cell, seed: int, wanted: Sequence[np.ndarray]
    ) -> Cell:
        role = "policy" if any(w[k] == 1.0 for w in wanted) else "prerequisite"
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name", "margins"})}
        return Cell(role, "method", spec, {"reference": reference.id}, corner_weights(objectives, k), seed)

    def _inner(
        self, objectives: Objectives, w: np.ndarray, reference: Cell, corners: Mapping[int, Cell], seed: int
    ) -> Cell:
        margins = {
            n: self.margin_of(n) for j, n in enumerate(objectives.names) if j != w.argmax() and w[j] > 0
        }
        needs = {
            f"margin:{n}": corners[objectives.index(n)].id
            for n, kind in margins.items()
            if kind == "implicit"
        }
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name"}), "margins": margins}
        return Cell("policy", "method", spec, {"reference": reference.id, **needs}, objectives.named(w), seed)

    def _margin(
        self,
        objectives: Objectives,
        w: np.ndarray,
        k: int,
        needs: Mapping[str, Path],
        rewards: Callable[[], np.ndarray],
    ) -> np.ndarray | None:
        """[n_responses] sum over j != k of w_j r_j, NaN where one is unknown; None where k has all the weight."""
        others = [j for j in range(len(w)) if j != k and w[j] > 0]
        if not others:
            return None
        total = np.zeros(())
        for j in others:
            name = objectives.names[j]
            explicit = self.margin_of(name) == "explicit"
            total = total + w[j] * (
                rewards()[:, j] if explicit else implicit_rewards(needs[f"margin:{name}"])
            )
        return total
