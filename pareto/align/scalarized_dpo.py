"""Scalarised preference optimisation: one label a pair, one loss of the core, one job per weight vector."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from torch import Tensor

from pareto import rng
from pareto.align.preference_job import Reference, begin_policy, restarted, shortened, store_policy
from pareto.cells import Cell, Cost, FitContext, Fitted
from pareto.config import Config
from pareto.core.logps import make_scorer
from pareto.core.loop import Hooks, TrainConfig
from pareto.core.losses import LOSSES
from pareto.core.losses.base import PairLogps, needs_of
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.preference_loss import LossConfig, constant_loss, preference_objective
from pareto.core.procedures.base import AnyProcedure, Job, PairData
from pareto.core.procedures.plain import Plain
from pareto.core.token_extras import LiveReference
from pareto.data.pairs import PreferencePairs
from pareto.errors import ConfigError, ObjectiveError
from pareto.methods import FITTERS, METHODS
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.policy_set import PolicySet
from pareto.pricing import settings_price

LIVE = {"masks", "chosen_token_kl", "rejected_token_kl"}
"""Columns of a batch that only a live reference model can fill."""


@runtime_checkable
class SamplingTask(Protocol):
    """A task that can draw pairs from a policy and knows their rewards."""

    def fresh_pairs(self, folder: Path, model: Any, n: int, seed: int) -> tuple[PreferencePairs, np.ndarray]:
        """About n labelled pairs of a policy's replies to training prompts, and [n_responses, m] rewards, larger is better."""
        ...


def _losses(value: Any) -> Any:
    """``[{name: dpo, beta: 0.1}, {name: sft, weight: 0.2}]`` is short for terms with `hyper`."""
    if not isinstance(value, Sequence | Mapping) or isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        value = {"terms": [_term(v) if isinstance(v, Mapping) else v for v in value]}
    try:
        return LossConfig.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def _term(flat: Mapping[str, Any]) -> dict[str, Any]:
    own = {k: v for k, v in flat.items() if k in ("name", "weight", "hyper")}
    more = {k: v for k, v in flat.items() if k not in own}
    return own | ({"hyper": {**flat.get("hyper", {}), **more}} if more else {})


@METHODS.register(
    "scalarized_dpo",
    source="Zhou et al. (2024), arXiv 2310.03708, the loss-weighting baseline; soft targets follow from Bradley-Terry",
)
class ScalarizedDPO(Config):
    """Any loss of the core on pairs that carry one label for given weights: the plain baseline of every vector method.

    With `scalarize: labels` every objective with a winner votes with its weight; ties and unknown labels cast no vote, pairs
    without a vote are left out. The share of votes for a is the probability that a is better ("soft"), or the majority wins
    and an exact draw is left out ("hard"). Soft votes are loss-weighted DPO: sum_j w_j L(label_j), because a loss of a label
    is linear in its probability. At a corner of the simplex both are the pairs of that objective, and with loss dpo the
    policy is MODPO's corner.

    With `scalarize: rewards` a pair's score is w.(r(a) - r(b)), for tasks that know the rewards of their responses; pairs
    with an unknown one are left out. "soft" is the Bradley-Terry probability sigmoid(w.(r(a) - r(b))), "hard" its sign.

    Which of these has the optimum of E[w.r] - beta KL, pi* = ref exp(w.r / beta)? DPO recovers the reward whose
    Bradley-Terry labels it sees. Only *soft rewards* are such labels, in expectation and without their noise, so their
    optimum is exact, as long as one unit of reward is one unit of log-odds. Hard rewards say that every better response
    is always better, which asks for infinite log-ratios. Votes mix sigmoids, sum_j w_j sigmoid(r_j(a) - r_j(b)), and
    that is no sigmoid of w.r off the corners: it shrinks wherever objectives differ. MODPO has the right optimum from
    labels alone.

    Args:
        loss: a list of losses by name with their hyper-parameters and weights in the sum, or a whole loss configuration.
        scalarize: what of the data is scalarised.
        labels: "soft" or "hard" labels.
        procedure: how the loss is minimised, by its `kind`: plain, curry, iterative, accelerated, tr_dpo.
        training: optimisation of every policy; with several rounds, of all of them together.
        adapter: LoRA or full fine-tuning.

    Source: Zhou et al. (2024), arXiv 2310.03708, loss weighting as a baseline; Rafailov et al. (2023), Eq. 4-7, for the optimum. beta 0.1 is
    the loss's own default.
    """

    name: Literal["scalarized_dpo"] = "scalarized_dpo"
    loss: Annotated[LossConfig, BeforeValidator(_losses)] = LossConfig()
    scalarize: Literal["labels", "rewards"] = "labels"
    labels: Literal["soft", "hard"] = "soft"
    procedure: AnyProcedure = Plain()
    training: TrainConfig = TrainConfig()
    adapter: Annotated[LoRA | FullFineTuning, Field(discriminator="kind")] = LoRA()

    @field_validator("loss")
    @classmethod
    def _of_pairs(cls, loss: LossConfig) -> LossConfig:
        if loss.kind is not PairLogps:
            raise ValueError(
                f"scalarized_dpo trains on pairs; {loss.terms[0].name!r} is no loss of pairs ({loss.kind.__name__})"
            )
        return loss

    @model_validator(mode="after")
    def _soft_losses(self) -> ScalarizedDPO:
        coupled = [t.name for t in self.loss.terms if needs_of(LOSSES.get(t.name)).coupled]
        if self.labels == "soft" and coupled:
            raise ValueError(
                f"loss {coupled[0]!r} looks across pairs and has no soft labels; set labels: hard"
            )
        return self

    @property
    def beta(self) -> float | None:
        """At which ref * exp(w.r / beta) is what policies are compared with: the loss's, divided by the procedure's strength."""
        strength = self.procedure.strength()
        beta = next((b for term in self.loss.terms if (b := term.beta) is not None), None)
        return None if beta is None or strength is None else beta / strength

    def plan(self, task: Any, weights: Sequence[Mapping[str, float]], seeds: Sequence[int]) -> list[Cell]:
        """The task's reference, and one policy per weight vector and seed."""
        reference = task.prerequisites()["reference"]
        spec = {"method": self.name, **self.model_dump(mode="json", exclude={"name"})}
        named = [task.objectives.named(task.objectives.vector(w)) for w in weights]
        return [
            reference,
            *(
                Cell("policy", "method", spec, {"reference": reference.id}, w, seed)
                for seed in seeds
                for w in named
            ),
        ]

    def price(self, cell: Cell, task: Any) -> Cost:
        """The training, once for every round that has epochs of its own; and the replies of rounds that draw fresh pairs."""
        sizes = task.sizes()
        rounds, data = getattr(self.procedure, "rounds", 1), getattr(self.procedure, "data", "parts")
        times = rounds if self.training.steps is None and data != "parts" else 1
        drawn = 2 * sizes.pairs * rounds if data == "fresh" else 0
        return Cost(
            train_tokens=times * settings_price(cell.spec, sizes).train_tokens,
            generated_tokens=round(drawn * sizes.response_tokens),
        )

    def train(self, cell: Cell, task: Any, context: FitContext) -> Fitted:
        """Fit the policy of one weight vector."""
        folder = context.needs["reference"]
        reference = Reference(task, folder, context)
        w = task.objectives.vector(cell.weights or {})
        data = self.label(reference.pairs, w, lambda: task.load_rewards(folder))
        objective = _ObjectiveMaker(self.loss, reference, seed=cell.seed)
        model = begin_policy(reference, self.adapter, cell)
        sampler = _Sampler(self, task, reference, model, w, cell.seed)
        job = Job(
            model=model,
            data=data,
            reference=reference.token_logps,
            objective=objective,
            training=shortened(self.training, cell.spec.get("share", 1.0), len(data.examples)),
            folder=context.scratch / "procedure",
            seed=cell.seed,
            dtype=context.dtype,
            first_loss=None
            if "start" in context.needs
            else objective.first_loss(data, reference.token_logps),
            hooks=Hooks(context.progress, context.log),
            fresh=sampler.pairs if isinstance(task, SamplingTask) else None,
        )
        result = self.procedure.run(job)
        return store_policy(
            reference, model, cell, beta=self.beta, tokens=result.tokens, generated=sampler.tokens
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

    def label(
        self, pairs: PreferencePairs, weights: np.ndarray, rewards: Callable[[], np.ndarray]
    ) -> PairData:
        """Pairs with one label each, for given weights.

        Args:
            pairs: with a label per objective.
            weights: [m] on the simplex.
            rewards: gives [n_responses, m] rewards, larger is better, NaN where unknown; asked only when scalarised.

        Returns:
            the pairs that have a label, winner first; `gap` is what the winner is ahead by.

        Raises:
            ObjectiveError: no pair has one.
        """
        if self.scalarize == "rewards":
            score = reward_score(rewards(), pairs, weights)
            sure = 1.0 / (1.0 + np.exp(-np.abs(score)))
        else:
            score = vote_score(pairs.labels, weights)
            sure = 0.5 * (1.0 + np.abs(score))
        rows = np.flatnonzero(np.isfinite(score) & ((score != 0) | (self.labels == "soft")))
        if not len(rows):
            raise ObjectiveError(
                f"no pair has a label at weights {dict(zip(pairs.objectives.names, weights.tolist()))}: of {len(pairs)} "
                f"pairs, {int(np.isnan(score).sum())} have no known {self.scalarize} and the rest are draws"
            )
        a, b, ahead = pairs.a[rows], pairs.b[rows], score[rows]
        first = ahead >= 0
        hard = self.labels == "hard" or bool((sure[rows] == 1.0).all())
        return PairData(
            pairs.table,
            np.column_stack([np.where(first, a, b), np.where(first, b, a)]),
            target=None if hard else sure[rows],
            gap=np.abs(ahead),
            weight=None if pairs.weight is None else pairs.weight[rows].astype(np.float64),
        )


def vote_score(labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted vote of the objectives on each pair.

    Args:
        labels: [n, m]: 1 for a, -1 for b, 0 for a tie, NaN where unknown; ties and unknown ones do not vote.
        weights: [m] on the simplex.

    Returns:
        [n] float64 in [-1, 1], share of votes for a minus share for b; NaN where nobody votes.
    """
    label = np.nan_to_num(labels.astype(np.float64))
    cast = np.abs(label) @ weights
    return np.divide(label @ weights, cast, out=np.full(len(label), np.nan), where=cast > 0)


def reward_score(rewards: np.ndarray, pairs: PreferencePairs, weights: np.ndarray) -> np.ndarray:
    """Scalarised reward of a minus that of b.

    Args:
        rewards: [n_responses, m], NaN where unknown.
        pairs: whose responses they are.
        weights: [m] on the simplex; objectives without weight need no reward.

    Returns:
        [n] float64, NaN where a reward that counts is unknown.
    """
    counts = weights > 0
    value = rewards[:, counts] @ weights[counts]
    return value[pairs.a] - value[pairs.b]


class _ObjectiveMaker:
    """Makes the configured loss of some pairs against some reference; soft labels give its expectation over the label."""

    def __init__(self, config: LossConfig, reference: Reference, *, seed: int) -> None:
        self._config, self._device, self._seed = config, reference.context.device, seed
        self._live: LiveReference | None = None
        if any(LIVE & set(needs_of(LOSSES.get(term.name)).columns) for term in config.terms):
            model = reference.model().eval().requires_grad_(False)
            self._live = LiveReference(make_scorer(model), model)

    def __call__(self, data: PairData, reference: np.ndarray) -> Objective:
        """See `pareto.core.procedures.base.ObjectiveMaker`.

        Raises:
            ConfigError: soft labels for a loss with a learned part or state, which belongs to one order of a pair.
        """
        own, _ = self._made(data, data.examples, reference)
        if data.target is None:
            return own
        if own.module is not None:
            names = ", ".join(term.name for term in self._config.terms)
            raise ConfigError(f"loss {names} learns, and a learned loss has no soft labels; set labels: hard")
        other, _ = self._made(data, data.examples[:, ::-1], reference)
        target = torch.from_numpy(data.target).float().to(self._device)
        return expected_over_labels(own, other, target)

    def first_loss(self, data: PairData, reference: np.ndarray) -> float | None:
        """The loss while policy and reference are the same, where it is one number whatever the pair and the label."""
        if data.weight is not None:
            return None
        return constant_loss(self._made(data, data.examples, reference)[1])

    def _made(
        self, data: PairData, examples: np.ndarray, reference: np.ndarray
    ) -> tuple[Objective, np.ndarray | None]:
        return preference_objective(
            self._config,
            data.table,
            np.ascontiguousarray(examples),
            reference,
            {} if data.weight is None else {"weight": data.weight},
            reference=self._live,
            device=self._device,
            seed=rng.derive_seed("loss", self._seed) % 2**31,
        )


def expected_over_labels(own: Objective, other: Objective, target: Tensor) -> Objective:
    """The expectation of a loss of pairs over an uncertain label: t L(a over b) + (1 - t) L(b over a).

    Args:
        own: the loss of the examples (a, b).
        other: the same loss of the examples (b, a).
        target: [n] t, probability that a is better.
    """

    def loss(scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
        t = target[scored.index]
        values, metrics = own.loss(scored)
        return t * values + (1.0 - t) * other.loss(_turned(scored))[0], metrics

    return Objective(loss, extras=own.extras)


def _turned(scored: ScoredExamples) -> ScoredExamples:
    """The same examples with their two responses in the other order."""
    response = scored.token_response ^ 1
    order = response.argsort(stable=True)
    return ScoredExamples(
        scored.token_logps[order],
        response[order],
        scored.logps.flip(1),
        scored.lengths.flip(1),
        scored.index,
        {name: values[order] for name, values in scored.extras.items()},
    )


class _Sampler:
    """Fresh pairs of the policy in training, labelled by the task and scalarised as the method says."""

    def __init__(
        self, method: ScalarizedDPO, task: Any, reference: Reference, model: Any, w: np.ndarray, seed: int
    ) -> None:
        self._method, self._task, self._reference = method, task, reference
        self._model, self._w, self._seed = model, w, seed
        self.tokens = 0

    def pairs(self, number: int) -> PairData:
        """As many pairs as the task has, drawn from the model as it is."""
        seed = rng.derive_seed("fresh", self._seed, number) % 2**31
        fresh, rewards = self._task.fresh_pairs(
            self._reference.folder, self._model, len(self._reference.pairs), seed
        )
        both = np.concatenate([fresh.a, fresh.b])
        self.tokens += int(fresh.table.responses.lengths[both].sum())
        return self._method.label(fresh, self._w, lambda: rewards)
