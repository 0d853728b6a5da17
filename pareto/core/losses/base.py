"""What preference losses are functions of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
