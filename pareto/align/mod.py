"""Multi-objective decoding as a method of sweeps: corners trained apart, their next-token distributions mixed by the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pareto.align.corners import combining_cells, corner_shares
from pareto.align.modpo import MODPO
from pareto.cells import Cell, FitContext, Fitted, PolicyFiles
from pareto.config import Config
from pareto.core.loop import TrainConfig
from pareto.errors import ConfigError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.decoding_policy import store_decoding
from pareto.models.mixing_rules import RULES
from pareto.policy_set import PolicySet
from pareto.state import atomic


@METHODS.register("mod", source="Shi et al. (2024), Decoding-time alignment, arXiv 2406.18853")
class MOD(Config):
    """Policies that mix the next-token distributions of the corners by the rule of a divergence.

    Nothing is trained for weights between the corners; a reply costs a row for every corner that has a share. Under
    reverse_kl the mixture is the geometric mean, which is near ref exp(w.r / beta) but normalised token by token.

    Args:
        beta: > 0, of the corners, which are DPO policies, 1/nats.
        mass_anchor: >= 0, as in `modpo`.
        divergence: rule of mixing: reverse_kl, forward_kl, jsd or alpha.
        alpha: of divergence alpha, > 0.
        training: optimisation of each corner.
        adapter: LoRA or full fine-tuning.

    Source: Shi et al. (2024), Table 1; see `pareto.steer.rules` for what differs from the released code. Corners are trained
    under reverse KL whatever the rule.
    """

    name: Literal["mod"] = "mod"
    beta: float = Field(default=0.1, gt=0)
    mass_anchor: float = Field(default=0.0, ge=0)
    divergence: Literal["reverse_kl", "forward_kl", "jsd", "alpha"] = "reverse_kl"
    alpha: float | None = Field(default=None, gt=0)
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    @model_validator(mode="after")
    def _alpha_where_it_belongs(self) -> MOD:
        if (self.alpha is None) == (self.divergence == "alpha"):
            raise ConfigError(
                "method.alpha belongs to divergence alpha, and to it alone; give both or neither"
            )
        RULES.get(self.divergence)  # an unknown rule is an error now
        return self

    @property
    def trainer(self) -> MODPO:
        """Of the corners."""
        return MODPO(**{n: getattr(self, n) for n in ("beta", "mass_anchor", "training", "adapter")})

    @property
    def options(self) -> dict[str, float]:
        """Of the rule."""
        return {} if self.alpha is None else {"alpha": self.alpha}

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The reference, the corners, then mixtures."""
        spec = {"method": self.name, "divergence": self.divergence, **self.options}
        return combining_cells(self.trainer, spec, task, weights, seeds)

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Train a corner, or put corners together at one weight vector."""
        if cell.spec["method"] != self.name:
            return self.trainer.train(cell, task, context)
        store_decoding(corner_shares(cell, context.needs), self.divergence, self.options, context.folder)
        weights = dict(cell.weights or {})
        facts = {"kind": "decoding", "weights": weights, "beta": self.beta}
        atomic.write_json(context.folder / "policy.json", facts)
        return Fitted((PolicyFiles(cell.id, "decoding", context.folder, weights, extra={"beta": self.beta}),))

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
