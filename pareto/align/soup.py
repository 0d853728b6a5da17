"""Rewarded soups as a method of sweeps: corners trained apart, what they changed mixed by the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from pareto.align.corners import combining_cells, corner_shares
from pareto.align.modpo import MODPO
from pareto.cells import Cell, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.methods import FITTERS, METHODS
from pareto.models import lora_factors
from pareto.models.adapters import FullFineTuning, LoRA, save_policy
from pareto.models.parameter_mixing import ParameterMixture
from pareto.policy_set import PolicySet
from pareto.state import atomic


@METHODS.register("soup", source="Rame et al. (2023), Rewarded soups, arXiv 2306.04488")
class Soup(Config):
    """Policies whose parameters are  theta_ref + sum_k w_k (theta_k - theta_ref), theta_k trained for objective k alone.

    Nothing is trained for weights between the corners. Adapters are mixed exactly, as sums of their updates, and stored as
    one adapter; whole models parameter by parameter.

    Args:
        beta: > 0, of the corners, which are DPO policies, 1/nats.
        mass_anchor: >= 0, as in `modpo`.
        training: optimisation of each corner.
        adapter: LoRA or full fine-tuning.

    Source: Rame et al. (2023), Eq. 1. Differences: corners by DPO on pairs instead of PPO on reward models; the released
    code averages LoRA factors, which is another model (`pareto.steer.factor_averaging`).
    """

    name: Literal["soup"] = "soup"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    @property
    def trainer(self) -> MODPO:
        """Of the corners."""
        return MODPO(**{n: getattr(self, n) for n in ("beta", "mass_anchor", "training", "adapter")})

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The reference, the corners, then mixtures."""
        return combining_cells(self.trainer, {"method": self.name}, task, weights, seeds)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train a corner, or mix corners at one weight vector."""
        if cell.spec["method"] != self.name:
            return self.trainer.train(cell, task, context)
        shares = corner_shares(cell, context.needs)
        folders, c = [folder for folder, _ in shares], [share for _, share in shares]
        reference, _ = task.load_reference(context.needs["reference"], "cpu", "float32")
        if isinstance(self.adapter, LoRA):
            updates = [lora_factors.read_factors(folder, reference) for folder in folders]
            whole = lora_factors.weighted_sum(updates, c)
            lora_factors.write_adapter(
                {n: lora_factors.reduced(f)[0] for n, f in whole.items()}, context.folder
            )
            kind = "adapter"
        else:
            mixture = ParameterMixture(reference, folders)
            mixture.keep(torch.tensor(c))
            kind = save_policy(mixture.get_base_model(), context.folder)
        weights = dict(cell.weights or {})
        atomic.write_json(
            context.folder / "policy.json", {"kind": kind, "weights": weights, "beta": self.beta}
        )
        return Fitted((PolicyFiles(cell.id, kind, context.folder, weights, extra={"beta": self.beta}),))

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
