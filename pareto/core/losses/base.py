"""What preference losses are functions of, and what each of them asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from torch import Tensor

from pareto.errors import DataError

LossT = TypeVar("LossT", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class TokenMasks:
    """How much every token counts in SparsePO; all [B, T] >= 0, 0 past the end.

    Args:
        chosen_reward, rejected_reward: of the log-ratio.
        chosen_kl, rejected_kl: of the divergence from the reference.
    """

    chosen_reward: Tensor
    rejected_reward: Tensor
    chosen_kl: Tensor
    rejected_kl: Tensor


@dataclass(frozen=True)
class OtherPrompt:
    """The two responses of every pair under another prompt; all [B], sums over response tokens in nats.

    Args:
        chosen_logps, rejected_logps: under the policy.
        ref_chosen_logps, ref_rejected_logps: under the reference.
    """

    chosen_logps: Tensor
    rejected_logps: Tensor
    ref_chosen_logps: Tensor
    ref_rejected_logps: Tensor

    @property
    def chosen_ratio(self) -> Tensor:
        """[B] log-ratio of policy to reference on the chosen response."""
        return self.chosen_logps - self.ref_chosen_logps.detach()

    @property
    def rejected_ratio(self) -> Tensor:
        """[B] log-ratio of policy to reference on the rejected response."""
        return self.rejected_logps - self.ref_rejected_logps.detach()


@dataclass(frozen=True)
class Revisions:
    """Each response written as a revision of each; entry [b, i, j] is response j given response i, 0 chosen, 1 rejected.

    Args:
        logps, ref_logps: [B, 2, 2], sums over response tokens in nats.
    """

    logps: Tensor
    ref_logps: Tensor

    @property
    def ratio(self) -> Tensor:
        """[B, 2, 2] log-ratios of policy to reference."""
        return self.logps - self.ref_logps.detach()


@dataclass(frozen=True)
class Degraded:
    """The chosen response and copies of it that lack more and more of its content.

    Args:
        features: [B, L, F] pooled figures of each of the L texts, the whole response first.
        logits: [B, L, L] what a classifier makes of them: how degraded it takes each text to be; None before it ran.
    """

    features: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class PairLogps:
    """Log-probabilities of B pairs of responses; all tensors [B], sums over response tokens in nats, unless said otherwise.

    Args:
        chosen_logps, rejected_logps: under the policy.
        ref_chosen_logps, ref_rejected_logps: under the reference.
        chosen_lengths, rejected_lengths: response tokens.
        margin: reward of chosen minus rejected that the other objectives already account for, weighted.
        weight: weight of the pair.
        target: probability that chosen is really better.
        span_mask: [B, T] tokens a loss should look at.
        prev_chosen_logps, prev_rejected_logps: under the previous round's policy.
        chosen_token_logps, rejected_token_logps: [B, T] per token, 0 past the end.
        ref_chosen_token_logps, ref_rejected_token_logps: [B, T] twins under the reference.
        example_id: [B] int64, stable name of the pair for losses with state.
        chosen_token_kl, rejected_token_kl: [B, T] KL(reference || policy) of the next-token distributions, 0 past the end.
        masks: how much each token counts.
        rationale_logps: of a text that says why chosen is better, given prompt and both responses.
        calibration_logps: of a response drawn from the calibration distribution of the prompt.
        other_prompt: both responses under another prompt.
        revisions: each response as a revision of each.
        degraded: degraded copies of the chosen response.
    """

    chosen_logps: Tensor
    rejected_logps: Tensor
    ref_chosen_logps: Tensor
    ref_rejected_logps: Tensor
    chosen_lengths: Tensor
    rejected_lengths: Tensor
    margin: Tensor | None = None
    weight: Tensor | None = None
    target: Tensor | None = None
    span_mask: Tensor | None = None
    prev_chosen_logps: Tensor | None = None
    prev_rejected_logps: Tensor | None = None
    chosen_token_logps: Tensor | None = None
    rejected_token_logps: Tensor | None = None
    ref_chosen_token_logps: Tensor | None = None
    ref_rejected_token_logps: Tensor | None = None
    example_id: Tensor | None = None
    chosen_token_kl: Tensor | None = None
    rejected_token_kl: Tensor | None = None
    masks: TokenMasks | None = None
    rationale_logps: Tensor | None = None
    calibration_logps: Tensor | None = None
    other_prompt: OtherPrompt | None = None
    revisions: Revisions | None = None
    degraded: Degraded | None = None

    @property
    def chosen_ratio(self) -> Tensor:
        """[B] log-ratio of policy to reference on the chosen response."""
        return self.chosen_logps - self.ref_chosen_logps.detach()

    @property
    def rejected_ratio(self) -> Tensor:
        """[B] log-ratio of policy to reference on the rejected response."""
        return self.rejected_logps - self.ref_rejected_logps.detach()

    @property
    def gap(self) -> Tensor:
        """[B] log-ratio of the chosen minus that of the rejected response."""
        return self.chosen_ratio - self.rejected_ratio

    @property
    def chosen_mean(self) -> Tensor:
        """[B] log-probability of the chosen response per token."""
        return self.chosen_logps / self.chosen_lengths

    @property
    def rejected_mean(self) -> Tensor:
        """[B] log-probability of the rejected response per token."""
        return self.rejected_logps / self.rejected_lengths


def log_odds(mean_logps: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(mean_logps), for p kept below 1 - 1e-6 so that the logarithm is finite."""
    logps = mean_logps.clamp(max=-1e-6)
    return logps - (-logps.expm1()).log()


@dataclass(frozen=True)
class UnpairedLogps:
    """Log-probabilities of B single responses, each with a thumb up or down; all [B], sums over response tokens in nats.

    Args:
        logps: under the policy.
        ref_logps: under the reference.
        lengths: response tokens.
        label: bool or 0/1, whether the response is desirable.
        kl_baseline: scalar or [B], mean log-ratio of the policy on responses to other prompts; None counts as 0.
    """

    logps: Tensor
    ref_logps: Tensor
    lengths: Tensor
    label: Tensor
    kl_baseline: Tensor | None = None

    @property
    def ratio(self) -> Tensor:
        """[B] log-ratio of policy to reference."""
        return self.logps - self.ref_logps.detach()


@dataclass(frozen=True)
class PromptContrast:
    """B couples of examples, each answered after a clean and after a noisy prompt.

    Args:
        clean_logps, noisy_logps: [B, 2] log-probability of the right answer of each example, summed over its tokens.
        lengths: [B, 2] tokens of the answers.
        kl: [B, 2, 2] mean over answer tokens of KL(clean i || noisy j) between next-token distributions.
    """

    clean_logps: Tensor
    noisy_logps: Tensor
    lengths: Tensor
    kl: Tensor


@dataclass(frozen=True)
class Needs:
    """What a loss asks for beyond the log-probabilities of its responses.

    Args:
        columns: optional columns it cannot do without.
        reference: it reads the reference's log-probabilities.
        coupled: it looks across the examples of a micro-batch.
    """

    columns: tuple[str, ...] = ()
    reference: bool = True
    coupled: bool = False


def needs(*columns: str, reference: bool = True, coupled: bool = False) -> Callable[[LossT], LossT]:
    """Decorator that notes on a loss what it asks for; see `Needs`."""

    def note(loss: LossT) -> LossT:
        vars(loss)["needs"] = Needs(columns, reference, coupled)
        return loss

    return note


def needs_of(loss: Callable[..., Tensor]) -> Needs:
    """What a loss asks for; a loss that says nothing reads log-probabilities of policy and reference, pair by pair."""
    return vars(loss).get("needs", Needs())


def batch_kind(loss: Callable[..., Tensor]) -> type:
    """What a loss is a function of: `PairLogps`, `UnpairedLogps` or `PromptContrast`."""
    return next(iter(get_type_hints(loss).values()))


WHERE_COLUMNS_COME_FROM = {
    "chosen_token_logps": "ask for token log-probabilities when the batch is made",
    "rejected_token_logps": "ask for token log-probabilities when the batch is made",
    "ref_chosen_token_logps": "give the reference's log-probabilities per token",
    "ref_rejected_token_logps": "give the reference's log-probabilities per token",
    "chosen_token_kl": "give a live reference model",
    "rejected_token_kl": "give a live reference model",
    "masks": "they are made by the loss's module, from a live reference model",
    "example_id": "give the examples' stable numbers",
    "rationale_logps": "give rows a 'rationale' and lay examples out with `rationale_examples`",
    "other_prompt": "give rows an 'other_prompt' and lay examples out with `other_prompt_examples`",
    "revisions": "lay examples out with `revision_examples`",
    "degraded": "lay examples out with `degraded_examples`; the loss's module adds the logits",
}


def required(batch: Any, column: str) -> Any:
    """An optional column that a loss cannot do without.

    Raises:
        DataError: the batch does not carry it; says where it comes from.
    """
    value = getattr(batch, column)
    if value is None:
        raise DataError(
            f"this loss needs {column!r}, which the batch does not carry; {WHERE_COLUMNS_COME_FROM[column]}"
        )
    return value
