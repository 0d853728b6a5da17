"""How an orchestrator learns which objectives matter to a prompt: three targets and one fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pareto import rng
from pareto.config import Config
from pareto.errors import DataError, NumericsError
from pareto.models.orchestrator import Orchestrator


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs that somebody decided, with the rewards of both responses.

    Args:
        prompt: [n] int64, row of the prompt's features.
        chosen, rejected: [n, m] float64 rewards, larger is better, one unit the same for all objectives.
        features: [P, F] float32 of the prompts.
        level: [P, m] float64, mean reward of a prompt's responses.
        spread: [m] float64, standard deviation of the rewards over all responses.
        mean: [m] float64, their mean.
    """

    prompt: np.ndarray
    chosen: np.ndarray
    rejected: np.ndarray
    features: np.ndarray
    level: np.ndarray
    spread: np.ndarray
    mean: np.ndarray


class Target(Config, ABC):
    """What an orchestrator is fitted to."""

    @abstractmethod
    def prepare(self, pairs: JudgedPairs) -> tuple[Tensor, ...]:
        """Columns [n, ...] that the loss of a pair needs."""

    @abstractmethod
    def loss(self, log_weights: Tensor, log_kappa: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """[n] loss of pairs, given log g(x) [n, m] of their prompts."""


class _TowardsRewards(Target, ABC):
    """KL(w* || g(x)) with w* = softmax(normalised rewards / tau), up to the entropy of w*, which g does not change.

    `tau` None is fitted: the mean entropy of w* is that of weights drawn evenly from the simplex, 1/2 + ... + 1/m nats.
    """

    tau: float | None = Field(default=None, gt=0)

    @abstractmethod
    def normalised(self, pairs: JudgedPairs) -> np.ndarray:
        """[n, m] normalised rewards of the chosen responses."""

    def prepare(self, pairs: JudgedPairs) -> tuple[Tensor, ...]:
        """The targets w* [n, m]."""
        scores = self.normalised(pairs)
        tau = self.tau if self.tau is not None else temperature_at_entropy(scores)
        return (torch.from_numpy(softmax(scores / tau)).float(),)

    def loss(self, log_weights: Tensor, log_kappa: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Cross-entropy of targets and weights."""
        return -(columns[0] * log_weights).sum(-1)


@final
class RewardTarget(_TowardsRewards):
    """The paper's: rewards of the preferred response, each objective standardised over all responses.

    Source: Preference Orchestrator, arXiv 2511.10656. Differences from the paper: how rewards are normalised and the
    temperature are not published; standard scores and the fitted tau are this suite's.
    """

    kind: Literal["rewards"] = "rewards"

    def normalised(self, pairs: JudgedPairs) -> np.ndarray:
        """Standard scores."""
        return (pairs.chosen - pairs.mean) / pairs.spread


@final
class AdvantageTarget(_TowardsRewards):
    """By how much the preferred response is above the other responses to its prompt, in units of each objective's spread.

    A prompt to which every answer is harmless then says nothing for harmlessness, which `RewardTarget` takes for importance.

    Source: this suite, against the pitfall named above.
    """

    kind: Literal["advantages"] = "advantages"

    def normalised(self, pairs: JudgedPairs) -> np.ndarray:
        """Standardised rewards above the prompt's own level."""
        return (pairs.chosen - pairs.level[pairs.prompt]) / pairs.spread


@final
class LikelihoodTarget(Target):
    """Maximum likelihood of the choices: P(chosen over rejected) = sigmoid(kappa g(x) . (r(chosen) - r(rejected))).

    kappa, how sharply people choose, is one learned number, so that g recovers importance and not confidence.

    Source: this suite; Bradley and Terry (1952) with a prompt's weights in place of one reward.
    """

    kind: Literal["likelihood"] = "likelihood"

    def prepare(self, pairs: JudgedPairs) -> tuple[Tensor, ...]:
        """The differences of rewards [n, m]."""
        return (torch.from_numpy(pairs.chosen - pairs.rejected).float(),)

    def loss(self, log_weights: Tensor, log_kappa: Tensor, columns: tuple[Tensor, ...]) -> Tensor:
        """Negative log-likelihood, nats."""
        return -nn.functional.logsigmoid(log_kappa.exp() * (log_weights.exp() * columns[0]).sum(-1))


AnyTarget = Annotated[RewardTarget | AdvantageTarget | LikelihoodTarget, Field(discriminator="kind")]


class OrchestratorFit(Config):
    """Size and training of an orchestrator.

    Args:
        widths: of the hidden layers; () is a linear map. (256,) is what a description of the paper suggests; a linear map
            generalised better from 72 prompts of the lab (.02 against .05).
        steps: most optimiser steps, each on all pairs or a batch of them.
        batch_size: pairs of a step and of a look at the left-out prompts; all, where there are fewer.
        lr: of AdamW.
        weight_decay: of AdamW.
        validation: share of the prompts whose pairs say when to stop.
    """

    widths: tuple[int, ...] = ()
    steps: int = Field(default=400, ge=1)
    batch_size: int = Field(default=8192, ge=1)
    lr: float = Field(default=1e-2, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    validation: float = Field(default=0.2, gt=0, lt=1)


@dataclass(frozen=True)
class FittedOrchestrator:
    """What came out.

    Args:
        model: the orchestrator.
        kappa: learned sharpness of choices; 1 where the target has none.
        steps: how many were made.
        validation: (loss on left-out prompts before training, at the best step).
    """

    model: Orchestrator
    kappa: float
    steps: int
    validation: tuple[float, float]


def fit_orchestrator(
    pairs: JudgedPairs, target: Target, config: OrchestratorFit, *, seed: int
) -> FittedOrchestrator:
    """Fit with part of the prompts left out to find when to stop, then once more on all of them for as many steps.

    Raises:
        DataError: fewer than two prompts.
        NumericsError: the loss is not finite.
    """
    prompts = np.unique(pairs.prompt)
    if len(prompts) < 2:
        raise DataError(f"an orchestrator needs pairs of at least two prompts; got {len(prompts)}")
    shuffled = rng.generator("orchestrator", seed, "validation").permutation(prompts)
    left_out = np.isin(pairs.prompt, shuffled[: max(1, round(config.validation * len(prompts)))])
    columns = target.prepare(pairs)
    _, _, curve = _run(pairs, target, columns, config, ~left_out, left_out, config.steps, seed)
    best = int(np.argmin(curve))
    if best == 0:  # nothing generalises: all objectives alike
        model, kappa = _start(pairs, config, seed), 1.0
    else:
        model, kappa, _ = _run(pairs, target, columns, config, np.ones_like(left_out), None, best, seed)
    return FittedOrchestrator(model.eval(), kappa, best, (float(curve[0]), float(curve[best])))


def _start(pairs: JudgedPairs, config: OrchestratorFit, seed: int) -> Orchestrator:
    model = Orchestrator(
        pairs.features.shape[1],
        pairs.chosen.shape[1],
        config.widths,
        rng.derive_seed("orchestrator", seed) % 2**31,
    )
    model.standardise(pairs.features)
    return model


def _run(
    pairs: JudgedPairs,
    target: Target,
    columns: tuple[Tensor, ...],
    config: OrchestratorFit,
    trained: np.ndarray,
    watched: np.ndarray | None,
    steps: int,
    seed: int,
) -> tuple[Orchestrator, float, np.ndarray]:
    """Train for some steps; the loss on watched pairs before the first and after every step."""
    model = _start(pairs, config, seed)
    log_kappa = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.AdamW(
        [
            {"params": model.parameters(), "weight_decay": config.weight_decay},
            {"params": [log_kappa], "weight_decay": 0.0},
        ],
        lr=config.lr,
    )
    features = torch.from_numpy(pairs.features)
    prompt = torch.from_numpy(pairs.prompt)
    rows, watch = torch.from_numpy(np.flatnonzero(trained)), None
    if watched is not None:
        shuffled = rng.generator("orchestrator", seed, "watched").permutation(np.flatnonzero(watched))
        watch = torch.from_numpy(shuffled[: config.batch_size])
    draw = torch.Generator().manual_seed(rng.derive_seed("orchestrator", seed, "batches") % 2**31)

    def mean_loss(of: Tensor) -> Tensor:
        losses = target.loss(model(features)[prompt[of]], log_kappa, tuple(c[of] for c in columns))
        return losses.mean()

    curve = []
    for step in range(steps + 1):
        if watch is not None:
            with torch.no_grad():
                curve.append(float(mean_loss(watch)))
        if step == steps:
            break
        batch = rows
        if len(rows) > config.batch_size:
            batch = rows[torch.randint(len(rows), (config.batch_size,), generator=draw)]
        loss = mean_loss(batch)
        if not torch.isfinite(loss):
            raise NumericsError(
                f"the orchestrator's loss is {float(loss)} at step {step}; look at the rewards' scale"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, float(log_kappa.detach().exp()), np.array(curve)


def temperature_at_entropy(scores: np.ndarray) -> float:
    """The tau at which the rows of softmax(scores / tau) have the mean entropy of weights drawn evenly from the simplex.

    That entropy is 1/2 + ... + 1/m nats (Dirichlet with all parameters 1). By bisection on log tau.
    """
    wanted = sum(1.0 / k for k in range(2, scores.shape[1] + 1))
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        w = softmax(scores / np.exp(middle))
        entropy = -(w * np.log(np.maximum(w, 1e-300))).sum(axis=1).mean()
        low, high = (low, middle) if entropy > wanted else (middle, high)
    return float(np.exp(0.5 * (low + high)))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    return np.exp(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))


def judged_pairs(
    prompt_of: np.ndarray, chosen: np.ndarray, rejected: np.ndarray, rewards: np.ndarray, features: np.ndarray
) -> JudgedPairs:
    """Gather pairs whose two responses have a known reward under every objective.

    Args:
        prompt_of: [n_responses] int64.
        chosen: [n] int64, response that won.
        rejected: [n] int64, response that lost.
        rewards: [n_responses, m], NaN where unknown.
        features: [P, F] of the prompts.

    Raises:
        DataError: there is no such pair.
    """
    known = np.asarray(np.isfinite(rewards).all(axis=1))
    rows = known[chosen] & known[rejected]
    if not rows.any():
        raise DataError(
            f"none of {len(chosen)} decided pairs has a known reward of both responses under every objective"
        )
    own, prompt = rewards[known], prompt_of[known]
    n = np.maximum(np.bincount(prompt, minlength=len(features)), 1)
    level = np.stack([np.bincount(prompt, column, len(features)) / n for column in own.T], axis=1)
    spread = own.std(axis=0)
    return JudgedPairs(
        prompt_of[chosen[rows]],
        rewards[chosen[rows]],
        rewards[rejected[rows]],
        features,
        level,
        np.where(spread > 1e-9, spread, 1.0),
        own.mean(axis=0),
    )
