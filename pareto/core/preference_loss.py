"""From a config to an objective: a weighted list of named losses, and what is done to log-probabilities before them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final, get_type_hints

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from torch import Tensor, nn

from pareto.config import Config
from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, PromptContrast, UnpairedLogps, batch_kind, needs_of
from pareto.core.losses.module import LOSS_MODULES, LossModule, Setting
from pareto.core.objective import Objective, ScoredExamples, TokenExtra
from pareto.core.preference_batch import BLOCK, N_FEATURES, ExampleBatches, TokenRule, contrast_extra
from pareto.core.preference_metrics import pair_metrics, unpaired_metrics
from pareto.core.token_extras import Entropy, LiveReference, LogSumSquaredProbs, MeanLogit, ResponseKL
from pareto.data.example_sets import Layout
from pareto.data.pairs import ResponseTable
from pareto.errors import ConfigError, DataError, did_you_mean

Number = bool | int | float | str
WPO = "log_sum_squared_probs"
REPORTS: Mapping[str, Callable[[], TokenExtra]] = {"entropy": Entropy, "mean_logits": MeanLogit}


class LossTerm(Config):
    """One loss of a sum.

    Args:
        name: as `pareto list losses` has it.
        weight: of its values in the sum.
        hyper: its hyper-parameters by name, those of its module included; defaults where not given.
    """

    name: str
    weight: float = Field(default=1.0, gt=0)
    hyper: Mapping[str, Number] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> LossTerm:
        LOSSES.get(self.name)
        hints = hyper_parameters(self.name)
        for key, value in self.hyper.items():
            if key not in hints:
                raise ConfigError(
                    f"loss {self.name!r} has no hyper-parameter {key!r}{did_you_mean(key, hints)}; it has: "
                    f"{', '.join(sorted(hints)) or 'none'}"
                )
            try:
                TypeAdapter(hints[key]).validate_python(value, strict=True)
            except ValidationError as error:
                raise ConfigError(
                    f"{key} of loss {self.name!r}: {error.errors()[0]['msg'].lower()}; got {value!r}"
                ) from error
        if not float(self.hyper.get("beta", 1.0)) > 0.0:
            raise ConfigError(f"beta of loss {self.name!r} must be > 0; got {self.hyper['beta']}")
        return self

    def arguments(self, function: Callable[..., Any]) -> dict[str, Number]:
        """The hyper-parameters that a function takes by keyword."""
        return {k: v for k, v in self.hyper.items() if k in _keywords(function)}

    @property
    def beta(self) -> float | None:
        """`beta` as given or by default, None for a loss without."""
        default = _keywords(LOSSES.get(self.name)).get("beta")
        return None if default is None else float(self.hyper.get("beta", default.default))


class LossConfig(Config):
    """What is minimised: a weighted sum of named losses.

    Args:
        terms: the losses; all of pairs, all of single responses, or all of prompt contrasts.
        wpo: weigh every example by how likely the policy is to have written its responses, w = exp(mean over tokens of
            log p - log sum_v p_v^2), multiplied over the pair, without gradient.
        ld_alpha: weight of tokens beyond the shorter response's length (length-desensitised DPO); None and 1 change nothing.
        average: log-probabilities per token instead of per response; with "dpo" this is length-normalised DPO.
        confidence: probability that a label is right, for the idealised ranking accuracy where the data give none.
        report: figures of the whole next-token distribution to log; each costs a pass over the logits.

    Source: WPO: Zhou et al. (2024), arXiv 2406.11827, Eq. 2; LD-DPO: Liu et al. (2024), arXiv 2409.06411;
    length normalisation: Lambert et al. (2024), Tulu 3, arXiv 2411.15124; all as in TRL. MPO is dpo 0.8, bco 0.2, sft 1.
    """

    terms: tuple[LossTerm, ...] = Field(default_factory=lambda: (LossTerm(name="dpo"),), min_length=1)
    wpo: bool = False
    ld_alpha: float | None = Field(default=None, ge=0, le=1)
    average: bool = False
    confidence: float = Field(default=0.9, gt=0.5, lt=1)
    report: tuple[Literal["entropy", "mean_logits"], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> LossConfig:
        kinds = {batch_kind(LOSSES.get(term.name)) for term in self.terms}
        if len(kinds) > 1:
            shown = ", ".join(f"{t.name} ({batch_kind(LOSSES.get(t.name)).__name__})" for t in self.terms)
            raise ConfigError(f"losses of one sum must be functions of the same kind of batch; got {shown}")
        if self.ld_alpha is not None and kinds != {PairLogps}:
            raise ConfigError(f"ld_alpha compares the lengths of a pair; {self.terms[0].name!r} has none")
        if self.wpo and kinds == {PromptContrast}:
            raise ConfigError(
                f"wpo weighs responses of the policy; {self.terms[0].name!r} has answers to prompts"
            )
        if self.wpo and (coupled := [t.name for t in self.terms if needs_of(LOSSES.get(t.name)).coupled]):
            raise ConfigError(
                f"wpo weighs pair by pair, but {coupled[0]!r} compares the pairs of a batch by rank"
            )
        return self

    @property
    def labelled(self) -> dict[str, LossTerm]:
        """The terms by name; a name that stands there again gets its place as a suffix."""
        found: dict[str, LossTerm] = {}
        for i, term in enumerate(self.terms):
            found[f"{term.name}_{i}" if term.name in found else term.name] = term
        return found

    @property
    def kind(self) -> type:
        """The kind of batch that the losses are functions of."""
        return batch_kind(LOSSES.get(self.terms[0].name))

    @property
    def beta(self) -> float:
        """Of the implicit rewards that are reported: the first loss's that has one, else 0.1."""
        return next((b for term in self.terms if (b := term.beta) is not None), 0.1)


def hyper_parameters(name: str) -> dict[str, Any]:
    """Hyper-parameter -> type, of a loss and its module."""
    sources: list[Callable[..., Any]] = [LOSSES.get(name)]
    if name in LOSS_MODULES.names():
        sources.append(LOSS_MODULES.get(name).__init__)
    return {key: get_type_hints(f)[key] for f in sources for key in _keywords(f)}


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {k: p for k, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}


@dataclass(frozen=True)
class _Term:
    """A loss ready to be called; its module completes the batch."""

    label: str
    loss: Callable[..., Tensor]
    hyper: Mapping[str, Number]
    weight: float
    module: LossModule | None


@final
class PreferenceLoss:
    """Scored examples -> per-example loss and metrics: the `loss` of an `Objective`."""

    def __init__(
        self, config: LossConfig, batches: ExampleBatches, terms: list[_Term], references: bool
    ) -> None:
        self._config, self._batches, self._terms, self._references = config, batches, terms, references
        label = batches.columns.get("label")
        self._desirable = 0.5 if label is None else float(label.mean())

    def __call__(self, scored: ScoredExamples) -> tuple[Tensor, dict[str, Tensor]]:
        """[B] loss, and {metric: [B]}."""
        batch = self._batches(scored)
        total: Tensor | None = None
        metrics = self._metrics(batch, scored)
        for term in self._terms:
            value = self._value(term, batch, scored)
            if len(self._terms) > 1:
                metrics[f"loss/{term.label}"] = value.detach()
            total = term.weight * value if total is None else total + term.weight * value
        assert total is not None  # a config has at least one term
        if self._config.wpo:
            metrics["wpo_weight"] = weight = self._wpo_weight(scored)
            total = total * weight
        if "weight" in self._batches.columns:
            total = total * self._batches.columns["weight"][scored.index]
        return total, metrics

    def _value(self, term: _Term, batch: Any, scored: ScoredExamples) -> Tensor:
        if term.module is None:
            return term.loss(batch, **term.hyper)
        names = term.module.token_extras()
        extras = {name: self._batches.padded(scored, scored.extras[f"{term.label}/{name}"]) for name in names}
        batch = term.module.complete(batch, extras)
        value = term.loss(batch, **term.hyper)
        if torch.is_grad_enabled() and term.module.training:
            with torch.no_grad():
                term.module.advance(batch)
        return value

    @torch.no_grad()
    def _wpo_weight(self, scored: ScoredExamples) -> Tensor:
        likely = self._batches.answer_means(scored, scored.token_logps - scored.extras[WPO])
        slots = self._batches.slots
        own = slots["pair"] if "pair" in slots else slots["response"]
        return likely[:, list(own)].sum(1).exp()

    def _metrics(self, batch: Any, scored: ScoredExamples) -> dict[str, Tensor]:
        config, metrics = self._config, {}
        if isinstance(batch, PairLogps):
            metrics = pair_metrics(
                batch, beta=config.beta, confidence=config.confidence, reference=self._references
            )
        elif isinstance(batch, UnpairedLogps):
            metrics = unpaired_metrics(batch, beta=config.beta, desirable_share=self._desirable)
        for name in config.report:
            if name in scored.extras:
                means = self._batches.answer_means(scored, scored.extras[name])
                metrics |= _by_part(name, means, self._batches.slots)
        return metrics


def _by_part(name: str, means: Tensor, slots: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Figures of chosen and rejected under TRL's names; of other examples the mean over their responses."""
    if name == "mean_logits" and "pair" in slots:
        chosen, rejected = slots["pair"]
        return {"logits/chosen": means[:, chosen], "logits/rejected": means[:, rejected]}
    return {name: means.mean(1)}


def preference_objective(
    config: LossConfig,
    table: ResponseTable,
    examples: np.ndarray,
    ref_token_logps: np.ndarray | None,
    columns: Mapping[str, np.ndarray] | None = None,
    *,
    layout: Layout | None = None,
    reference: LiveReference | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> tuple[Objective, np.ndarray | None]:
    """The objective that a config asks for, on a data set.

    Args:
        config: losses and modifiers.
        table: prompts and responses.
        examples: [n, K] int64, response indices.
        ref_token_logps: [response tokens] float, aligned with `table.responses.flat`; None where no loss reads it.
        columns: name -> [n] of the data: margin, weight, target, prev_chosen_logps, prev_rejected_logps of pairs; label
            of single responses.
        layout: which of the K responses plays which part; by default the first two are chosen and rejected, or the first
            is the response of an unpaired example and the second, where there is one, its mismatched one.
        reference: live reference model, for losses that want more than its log-probabilities.
        device: where the model is.
        seed: first values of learned parts.

    Returns:
        The objective, and [n] float64 what its loss is of every example before the first step, when the policy still is
        the reference; the first loss of a batch is their mean (`constant_loss` where it is the same for all). None where
        that cannot be known without the model, or depends on who is in the batch.

    Raises:
        ConfigError: a loss wants a live reference.
        DataError: a loss wants something that the data do not have.
    """
    kind = config.kind
    losses = [LOSSES.get(term.name) for term in config.terms]
    if ref_token_logps is None and (
        wanting := [t.name for t, f in zip(config.terms, losses) if needs_of(f).reference]
    ):
        raise DataError(f"loss {wanting[0]!r} needs the reference's token log-probabilities; got None")
    batches = ExampleBatches(
        kind,
        table,
        examples,
        ref_token_logps,
        columns or {},
        layout or _default_layout(kind, examples.shape[1]),
        TokenRule(config.ld_alpha, config.average),
        tokens=any("chosen_token_logps" in needs_of(f).columns for f in losses),
        device=device,
    )
    degrees = len(batches.slots.get("degraded", ())) + 1 if "degraded" in batches.slots else 0
    setting = Setting(len(examples), reference, degrees, N_FEATURES, seed)
    terms = [_term(label, term, setting, batches.device) for label, term in config.labelled.items()]
    modules = {term.label: term.module for term in terms if term.module is not None}
    extras: dict[str, TokenExtra] = {
        f"{label}/{name}": extra for label, m in modules.items() for name, extra in m.token_extras().items()
    }
    if config.wpo:
        extras[WPO] = LogSumSquaredProbs()
    if kind is PromptContrast:
        for i, first in enumerate(batches.slots["clean"]):
            for j, second in enumerate(batches.slots["noisy"]):
                extras[contrast_extra(i, j)] = ResponseKL(first, second)
    loss = PreferenceLoss(config, batches, terms, ref_token_logps is not None)
    coupled = any(needs_of(f).coupled for f in losses) or "mismatched" in batches.slots
    first = None
    if ref_token_logps is not None and not extras:
        first = _losses_at_reference(loss, batches, ref_token_logps, coupled)
    extras |= {name: REPORTS[name]() for name in config.report}
    return Objective(loss, coupled, extras, nn.ModuleDict(modules) if modules else None), first


def constant_loss(first: np.ndarray | None, tolerance: float = 1e-5) -> float | None:
    """The one value of per-example losses, or None where they differ or are not known."""
    if first is None or not len(first) or np.ptp(first) > tolerance:
        return None
    return float(first.mean())


def _default_layout(kind: type, k: int) -> Layout:
    if kind is UnpairedLogps:
        return Layout({"response": (0,), **({"mismatched": (1,)} if k == 2 else {})})
    return Layout()


def _term(label: str, term: LossTerm, setting: Setting, device: torch.device) -> _Term:
    loss, module = LOSSES.get(term.name), None
    if term.name in LOSS_MODULES.names():
        make: Callable[..., LossModule] = LOSS_MODULES.get(term.name)
        module = make(setting, **term.arguments(make.__init__)).to(device)  # pyright: ignore[reportAttributeAccessIssue]
    return _Term(label, loss, term.arguments(loss), term.weight, module)


@torch.no_grad()
def _losses_at_reference(
    loss: PreferenceLoss, batches: ExampleBatches, ref_token_logps: np.ndarray, coupled: bool
) -> np.ndarray | None:
    """[n] float64 losses where the policy is the reference; None for a coupled loss that is not the same everywhere."""
    n = len(batches.examples)
    values = [
        loss(batches.scored_reference(ref_token_logps, np.arange(i, min(i + BLOCK, n))))[0]
        .double()
        .cpu()
        .numpy()
        for i in range(0, n, BLOCK)
    ]
    first = np.concatenate(values) if values else np.zeros(0)
    return None if coupled and constant_loss(first) is None else first
