"""From scored responses to what losses are functions of: parts, reference log-probabilities, columns of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.core.losses.base import (
    Degraded,
    OtherPrompt,
    PairLogps,
    PromptContrast,
    Revisions,
    UnpairedLogps,
)
from pareto.core.objective import ScoredExamples
from pareto.data.example_sets import Layout
from pareto.data.pairs import ResponseTable
from pareto.errors import DataError, ShapeError, did_you_mean

PAIR_COLUMNS = ("margin", "weight", "target", "prev_chosen_logps", "prev_rejected_logps")
"""Columns of the data that pairs may carry, [n] float."""

UNPAIRED_COLUMNS = ("label", "weight")
N_FEATURES = 4
"""Pooled figures of a degraded text: mean, spread and minimum of its token log-probabilities, log of its length."""


@dataclass(frozen=True)
class TokenRule:
    """How token log-probabilities become one number a response.

    Args:
        ld_alpha: weight in [0, 1] of the tokens of a pair beyond the shorter response's length (LD-DPO), None for 1.
        average: mean over tokens instead of sum.
    """

    ld_alpha: float | None = None
    average: bool = False


@final
class ExampleBatches:
    """Makes batches of one kind out of scored examples.

    Args:
        kind: `PairLogps`, `UnpairedLogps` or `PromptContrast`.
        table: prompts and responses.
        examples: [n, K] int64.
        ref_token_logps: [response tokens] float, of the table's responses under the reference, or None.
        columns: name -> [n].
        layout: which of the K responses plays which part.
        rule: from token log-probabilities to one number.
        tokens: whether losses want [B, T] token columns; the reference's are then kept on the device.
        device: where everything is.

    Raises:
        DataError: unknown columns, or a part or label that the kind cannot do without is missing.
        ShapeError: arrays that do not fit together.
    """

    def __init__(
        self,
        kind: type,
        table: ResponseTable,
        examples: np.ndarray,
        ref_token_logps: np.ndarray | None,
        columns: Mapping[str, np.ndarray],
        layout: Layout,
        rule: TokenRule,
        *,
        tokens: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        self.kind, self.table, self.examples, self.rule = kind, table, examples, rule
        self.slots, self.device = dict(layout.slots), torch.device(device)
        self.has_reference, self.tokens = ref_token_logps is not None, tokens
        self._check(columns)
        self.longest = int(table.responses.lengths[examples].max(initial=1))
        self.context = None if layout.context is None else self._put(layout.context[examples], torch.int64)
        self.columns = {name: self._put(column, torch.float32) for name, column in columns.items()}
        self._starts = self._put(table.responses.offsets[examples], torch.int64)
        self._ref_flat: Tensor | None = None
        self._ref_sums = torch.zeros(examples.shape, device=self.device)
        if ref_token_logps is not None:
            if len(ref_token_logps) != len(table.responses.flat):
                raise ShapeError(
                    f"expected a reference log-probability for each of {len(table.responses.flat)} response tokens; got "
                    f"{len(ref_token_logps)}"
                )
            if tokens:
                self._ref_flat = self._put(np.asarray(ref_token_logps), torch.float32)
            for start in range(0, len(examples), BLOCK):
                stop = min(start + BLOCK, len(examples))
                scored = self.scored_reference(ref_token_logps, np.arange(start, stop))
                self._ref_sums[start:stop] = self._sums(scored).float()

    def _check(self, columns: Mapping[str, np.ndarray]) -> None:
        n, k = self.examples.shape
        known = {PairLogps: PAIR_COLUMNS, UnpairedLogps: UNPAIRED_COLUMNS, PromptContrast: ("weight",)}[
            self.kind
        ]
        for name, column in columns.items():
            if name not in known:
                raise DataError(
                    f"unknown column {name!r}{did_you_mean(name, known)}; {self.kind.__name__} may carry: {', '.join(known)}"
                )
            if np.shape(column) != (n,):
                raise ShapeError(
                    f"column {name!r} must be [{n}], one entry an example; got {np.shape(column)}"
                )
        if self.kind is UnpairedLogps and "label" not in columns:
            raise DataError(
                "unpaired losses need a column 'label' (true where a response is desirable); it is not there"
            )
        for part, size in PARTS[self.kind].items():
            if len(self.slots.get(part, ())) != size or max(self.slots[part]) >= k:
                raise DataError(
                    f"{self.kind.__name__} needs the part {part!r} at {size} of an example's {k} responses; the layout has "
                    f"{self.slots}; lay examples out with a builder of pareto.data"
                )

    def _put(self, array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device, dtype)

    def scored_reference(self, token_logps: np.ndarray, index: np.ndarray) -> ScoredExamples:
        """Examples as they would be scored if the policy were the reference.

        Args:
            token_logps: [response tokens] of the reference.
            index: [B] int64, which examples.
        """
        responses = self.examples[index].ravel()
        lengths = self.table.responses.lengths[responses]
        starts = np.cumsum(lengths) - lengths
        within = np.arange(lengths.sum()) - np.repeat(starts, lengths)
        values = np.asarray(token_logps)[np.repeat(self.table.responses.offsets[responses], lengths) + within]
        precise = torch.float32 if self.device.type == "mps" else torch.float64
        tokens, response = (
            self._put(values, precise),
            self._put(np.repeat(np.arange(len(responses)), lengths), torch.int64),
        )
        shape = len(index), self.examples.shape[1]
        summed = tokens.new_zeros(len(responses)).index_add(0, response, tokens).view(shape)
        counts = self._put(lengths, torch.int64).view(shape)
        return ScoredExamples(tokens, response, summed, counts.float(), self._put(index, torch.int64))

    # ------------------------------------------------------------------------------------------ tokens

    def _within(self, scored: ScoredExamples) -> Tensor:
        """[n] int64, position of each token in its response."""
        lengths = scored.lengths.flatten().long()
        starts = lengths.cumsum(0) - lengths
        response = scored.token_response
        return torch.arange(len(response), device=response.device) - starts[response]

    def answer_lengths(self, scored: ScoredExamples) -> Tensor:
        """[B, K] float, tokens of each response without its context."""
        return scored.lengths if self.context is None else scored.lengths - self.context[scored.index]

    def _is_answer(self, scored: ScoredExamples, within: Tensor) -> Tensor:
        """[n] float, 0 for context tokens."""
        if self.context is None:
            return torch.ones_like(scored.token_logps)
        return (within >= self.context[scored.index].flatten()[scored.token_response]).to(scored.token_logps)

    def _weights(self, scored: ScoredExamples) -> Tensor:
        """[n] how much every token counts in its response's log-probability."""
        within, lengths = self._within(scored), self.answer_lengths(scored)
        weight = self._is_answer(scored, within)
        if self.rule.ld_alpha is not None:
            pair = list(self.slots["pair"])
            bound = torch.full_like(lengths, torch.inf)
            bound[:, pair] = lengths[:, pair].amin(1, keepdim=True)
            if self.context is not None:
                bound = bound + self.context[scored.index]
            tail = within >= bound.flatten()[scored.token_response]
            weight = torch.where(tail, self.rule.ld_alpha * weight, weight)
        if self.rule.average:
            weight = weight / lengths.clamp(min=1.0).flatten()[scored.token_response]
        return weight

    def _per_response(self, scored: ScoredExamples, values: Tensor) -> Tensor:
        """[B, K] sums over each response's tokens of [n] values."""
        return (
            values.new_zeros(scored.lengths.numel())
            .index_add(0, scored.token_response, values)
            .view(scored.lengths.shape)
        )

    def _sums(self, scored: ScoredExamples) -> Tensor:
        plain = self.context is None and self.rule == TokenRule()
        return (
            scored.logps if plain else self._per_response(scored, scored.token_logps * self._weights(scored))
        )

    def answer_means(self, scored: ScoredExamples, values: Tensor) -> Tensor:
        """[B, K] mean over each response's answer tokens of [n] values."""
        kept = values * self._is_answer(scored, self._within(scored))
        return self._per_response(scored, kept) / self.answer_lengths(scored).clamp(min=1.0)

    def padded(self, scored: ScoredExamples, values: Tensor) -> tuple[Tensor, Tensor]:
        """([B, T], [B, T]) values of the tokens of chosen and rejected, 0 past the end and where there is only context."""
        within = self._within(scored)
        b, k = scored.lengths.shape
        kept = values * self._is_answer(scored, within)
        rows = kept.new_zeros(b * k, self.longest).index_put((scored.token_response, within), kept)
        chosen, rejected = self.slots["pair"]
        return rows.view(b, k, -1)[:, chosen], rows.view(b, k, -1)[:, rejected]

    # ------------------------------------------------------------------------------------------ batches

    def __call__(self, scored: ScoredExamples) -> Any:
        """The batch of `kind`."""
        return {PairLogps: self._pairs, UnpairedLogps: self._unpaired, PromptContrast: self._contrast}[
            self.kind
        ](scored)

    def _of(self, name: str, scored: ScoredExamples) -> Tensor | None:
        return self.columns[name][scored.index] if name in self.columns else None

    def _pairs(self, scored: ScoredExamples) -> PairLogps:
        sums, ref = self._sums(scored), self._ref_sums[scored.index]
        lengths = self.answer_lengths(scored)
        counted = torch.ones_like(lengths) if self.rule.average else lengths.clamp(min=1.0)
        chosen, rejected = self.slots["pair"]
        extra: dict[str, Any] = {name: self._of(name, scored) for name in PAIR_COLUMNS}
        for part in ("rationale", "calibration"):
            if part in self.slots:
                extra[f"{part}_logps"] = sums[:, self.slots[part][0]]
        if "other_prompt" in self.slots:
            c, r = self.slots["other_prompt"]
            extra["other_prompt"] = OtherPrompt(sums[:, c], sums[:, r], ref[:, c], ref[:, r])
        if "revisions" in self.slots:
            where = list(self.slots["revisions"])
            extra["revisions"] = Revisions(sums[:, where].view(-1, 2, 2), ref[:, where].view(-1, 2, 2))
        if "degraded" in self.slots:
            extra["degraded"] = Degraded(self._features(scored)[:, [chosen, *self.slots["degraded"]]])
        if self.tokens:
            weight = self._weights(scored)
            own = self.padded(scored, scored.token_logps * weight)
            extra["chosen_token_logps"], extra["rejected_token_logps"] = own
            if self._ref_flat is not None:
                starts = self._starts[scored.index].flatten()[scored.token_response]
                values = self._ref_flat[starts + self._within(scored)] * weight
                theirs = self.padded(scored, values)
                extra["ref_chosen_token_logps"], extra["ref_rejected_token_logps"] = theirs
        return PairLogps(
            sums[:, chosen],
            sums[:, rejected],
            ref[:, chosen],
            ref[:, rejected],
            counted[:, chosen],
            counted[:, rejected],
            example_id=scored.index,
            **extra,
        )

    def _features(self, scored: ScoredExamples) -> Tensor:
        """[B, K, 4] pooled figures of every response, with gradient into the policy."""
        answer = self._is_answer(scored, self._within(scored))
        logps = scored.token_logps * answer
        mean = self.answer_means(scored, logps)
        spread = (self.answer_means(scored, logps.square()) - mean.square()).clamp(min=0.0)
        least = (
            logps.new_zeros(mean.numel())
            .scatter_reduce(0, scored.token_response, logps, "amin")
            .view(mean.shape)
        )
        return torch.stack(
            [mean, (spread + 1e-6).sqrt(), least, self.answer_lengths(scored).log1p().to(mean)], dim=-1
        )

    def _unpaired(self, scored: ScoredExamples) -> UnpairedLogps:
        sums, ref, lengths = self._sums(scored), self._ref_sums[scored.index], self.answer_lengths(scored)
        own = self.slots["response"][0]
        baseline = None
        if "mismatched" in self.slots:
            other = self.slots["mismatched"][0]
            baseline = (sums[:, other] - ref[:, other]).detach().mean()
        label = self._of("label", scored)
        assert label is not None  # checked when this was made
        counted = torch.ones_like(lengths) if self.rule.average else lengths.clamp(min=1.0)
        return UnpairedLogps(sums[:, own], ref[:, own], counted[:, own], label, baseline)

    def _contrast(self, scored: ScoredExamples) -> PromptContrast:
        sums, lengths = self._sums(scored), self.answer_lengths(scored)
        clean, noisy = list(self.slots["clean"]), list(self.slots["noisy"])
        back = scored.lengths.flatten()[scored.token_response] - self._within(scored)
        k = scored.lengths.shape[1]
        example, slot = scored.token_response // k, scored.token_response % k
        rows = []
        for i, first in enumerate(clean):
            both = [torch.minimum(lengths[:, first], lengths[:, second]) for second in noisy]
            parts = []
            for j, common in enumerate(both):
                kept = (slot == first) & (back <= common[example])
                total = scored.logps.new_zeros(len(lengths)).index_add(
                    0, example, scored.extras[contrast_extra(i, j)] * kept
                )
                parts.append(total / common.clamp(min=1.0))
            rows.append(torch.stack(parts, 1))
        counted = torch.ones_like(lengths) if self.rule.average else lengths.clamp(min=1.0)
        return PromptContrast(sums[:, clean], sums[:, noisy], counted[:, clean], torch.stack(rows, 1))


def contrast_extra(i: int, j: int) -> str:
    """Name of the token extra KL(clean i || noisy j)."""
    return f"kl_clean{i}_noisy{j}"


BLOCK = 2048
"""Examples whose reference log-probabilities are added up at a time."""

PARTS: Mapping[type, Mapping[str, int]] = {
    PairLogps: {"pair": 2},
    UnpairedLogps: {"response": 1},
    PromptContrast: {"clean": 2, "noisy": 2},
}
"""Parts a kind of batch cannot do without, and how many responses each takes."""
