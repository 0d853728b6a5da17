"""Forward and backward of one batch, with the loss inside the forward pass.

The body runs once. The head, the softmax and the loss run on few tokens at a time, on a detached copy of the hidden states
whose gradient is then sent through the body in one go: logits of one chunk are alive at a time. What the loss must see
together is a group: one example, or the whole batch for a loss that couples its examples.

- A group whose logits fit is scored, differentiated and forgotten: nothing is computed twice.
- A larger group is scored twice: without gradients, to learn what the loss says of every token, and again chunk by chunk with
  that known.
- A frozen head in closed form needs no second time: the slopes of its log-probabilities are kept, one vector a token.

All three are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pareto.core.head import LinearHead
from pareto.core.logps import Scorer, logps_of, target_scorer
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.packing import PackedRows

Figures = dict[str, Tensor]


def backward(
    scorer: Scorer,
    rows: PackedRows,
    index: Tensor,
    objective: Objective,
    *,
    divisor: float,
    chunk_tokens: int | None = None,
) -> tuple[Tensor, Figures]:
    """Add the gradient of sum(loss) / divisor to the parameters.

    Args:
        scorer: how to score with the model.
        rows: the packed batch of B examples.
        index: [B] int64, position of each example in the data set.
        objective: per-example loss and its needs.
        divisor: number of examples the whole optimiser step averages over.
        chunk_tokens: response tokens whose logits are alive at once; None: the scorer's.

    Returns:
        scalar loss (detached, sum / divisor) and metrics summed over the batch.
    """
    chunk_tokens = chunk_tokens or scorer.chunk_tokens
    prepared = {name: extra.prepare(rows) for name, extra in objective.extras.items()}
    hidden = scorer.hidden(rows)
    batch = _Batch(scorer, rows, index, objective, prepared, divisor, hidden.detach(), chunk_tokens)
    if batch.linear is not None and batch.linear.frozen and not objective.extras:
        batch.score_by_slopes(batch.linear)
    else:
        for examples, tokens in batch.groups():
            if tokens.stop - tokens.start <= chunk_tokens:
                batch.score_once(examples, tokens)
            else:
                batch.score_twice(examples, tokens)
    if hidden.requires_grad:
        hidden.backward(batch.pull)
    return batch.total, batch.figures


@torch.no_grad()
def evaluate(
    scorer: Scorer, rows: PackedRows, index: Tensor, objective: Objective, *, chunk_tokens: int | None = None
) -> Tensor:
    """[B] per-example losses without gradients."""
    chunk_tokens = chunk_tokens or scorer.chunk_tokens
    prepared = {name: extra.prepare(rows) for name, extra in objective.extras.items()}
    batch = _Batch(scorer, rows, index, objective, prepared, 1.0, scorer.hidden(rows), chunk_tokens)
    parts = []
    for examples, tokens in batch.groups():
        scored = batch.see(examples, tokens, *batch.score_chunks(tokens))
        parts.append(objective.loss(scored)[0])
    return torch.cat(parts)


class _Batch:
    """One micro-batch between the body's forward and its backward pass; `pull` becomes the gradient of the states."""

    def __init__(
        self,
        scorer: Scorer,
        rows: PackedRows,
        index: Tensor,
        objective: Objective,
        prepared: Mapping[str, Any],
        divisor: float,
        states: Tensor,
        chunk_tokens: int,
    ) -> None:
        self.scorer, self.rows, self.index, self.objective = scorer, rows, index, objective
        self.prepared, self.divisor, self.states, self.chunk_tokens = prepared, divisor, states, chunk_tokens
        # A head in closed form reads hidden states and nothing beside them.
        self.linear = scorer.linear() if rows.beside is None else None
        self.target_logps = target_scorer(scorer, self.linear)
        self.pull = torch.zeros_like(states)
        self.total = torch.zeros((), device=states.device)
        self.figures: Figures = {}

    def groups(self) -> list[tuple[slice, slice]]:
        """(examples, tokens) that the loss sees together: as many whole examples as fit, at least one; all if coupled."""
        whole = slice(0, len(self.rows.lengths)), slice(0, len(self.rows.target))
        if self.objective.coupled or whole[1].stop <= self.chunk_tokens:
            return [whole]
        ends = self.rows.ends.tolist()
        groups, first, begin = [], 0, 0
        for i, end in enumerate(ends):
            if i + 1 == len(ends) or ends[i + 1] - begin > self.chunk_tokens:
                groups.append((slice(first, i + 1), slice(begin, end)))
                first, begin = i + 1, end
        return groups

    def score_once(self, examples: slice, tokens: slice) -> None:
        """Differentiate the loss of a group straight down to the hidden states."""
        with torch.enable_grad():
            states = self._states(tokens).requires_grad_()
            self._lose(self.see(examples, tokens, *self._score(states, tokens))).backward()
        self._pull(tokens, states.grad)

    def score_twice(self, examples: slice, tokens: slice) -> None:
        """Differentiate the loss down to the tokens first; then every chunk with the slopes known."""
        logps, extras = self.score_chunks(tokens)
        slope, slopes = self._slopes(examples, tokens, logps, extras)
        for chunk in self._cut(tokens):
            part = slice(chunk.start - tokens.start, chunk.stop - tokens.start)
            with torch.enable_grad():
                states = self._states(chunk).requires_grad_()
                logps, extras = self._score(states, chunk, slopes)
                effect = (logps * slope[part]).sum()
                for name, value in extras.items():
                    effect = effect + (value * slopes[name][part]).sum()
                effect.backward()
            self._pull(chunk, states.grad)

    def score_by_slopes(self, head: LinearHead) -> None:
        """Score all tokens and keep how each depends on its state; the loss then says how much each matters."""
        whole = slice(0, len(self.rows.target))
        parts = [
            head.logps_and_slopes(self._states(chunk), self.rows.target[chunk]) for chunk in self._cut(whole)
        ]
        slope, _ = self._slopes(slice(0, len(self.rows.lengths)), whole, torch.cat([p[0] for p in parts]), {})
        for chunk, (_, by_state) in zip(self._cut(whole), parts):
            self._pull(chunk, by_state.mul_(slope[chunk, None]))

    @torch.no_grad()
    def score_chunks(self, tokens: slice) -> tuple[Tensor, dict[str, Tensor]]:
        """[n] log-probabilities and extras of many tokens, chunk by chunk, without gradients."""
        parts = [self._score(self._states(chunk), chunk) for chunk in self._cut(tokens)]
        names = self.objective.extras
        return torch.cat([p[0] for p in parts]), {n: torch.cat([p[1][n] for p in parts]) for n in names}

    def see(
        self, examples: slice, tokens: slice, token_logps: Tensor, extras: Mapping[str, Tensor]
    ) -> ScoredExamples:
        """What the loss sees of a group."""
        lengths = self.rows.lengths[examples]
        response = self.rows.response[tokens] - examples.start * lengths.shape[1]
        # A sum of hundreds of nats in float32 loses 1e-4 when it is added up token by token; rounded once, a third of that.
        wide = torch.float32 if token_logps.device.type == "mps" else torch.float64
        summed = torch.zeros(lengths.numel(), dtype=wide, device=token_logps.device)
        summed = summed.index_add(0, response, token_logps.to(wide)).to(token_logps.dtype)
        return ScoredExamples(
            token_logps, response, summed.view(lengths.shape), lengths.float(), self.index[examples], extras
        )

    def _states(self, tokens: slice) -> Tensor:
        """[n, d + c] what the head reads of some tokens: hidden states, and what stands beside them."""
        states = self.states[self.rows.source[tokens]]
        if self.rows.beside is None:
            return states
        # The wider of the two dtypes: numbers between 0 and 1 would be rounded by half precision.
        return torch.cat([states, self.rows.beside[tokens]], dim=-1)

    def _score(
        self, states: Tensor, chunk: slice, wanted: Mapping[str, object] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """[n] log-probabilities of a chunk, and the extras (only those in `wanted`, where given)."""
        target = self.rows.target[chunk]
        extras = {
            name: extra for name, extra in self.objective.extras.items() if wanted is None or name in wanted
        }
        if not extras:
            return self.target_logps(states, target), {}
        logits = self.scorer.head(states)
        values = {n: extra(logits, self.rows, chunk, self.prepared[n]) for n, extra in extras.items()}
        return logps_of(logits, target), values

    def _slopes(
        self, examples: slice, tokens: slice, logps: Tensor, extras: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradient of the loss by every token's log-probability, and by the extras that it depends on."""
        with torch.enable_grad():
            logps = logps.detach().requires_grad_()
            extras = {name: value.detach().requires_grad_() for name, value in extras.items()}
            self._lose(self.see(examples, tokens, logps, extras)).backward()
        slope = torch.zeros_like(logps) if logps.grad is None else logps.grad
        return slope, {name: value.grad for name, value in extras.items() if value.grad is not None}

    def _lose(self, scored: ScoredExamples) -> Tensor:
        """Scalar share of the loss; it and the metrics are added up."""
        loss, metrics = self.objective.loss(scored)
        share = loss.sum() / self.divisor
        self.total += share.detach()
        for name, value in metrics.items():
            self.figures[name] = self.figures.get(name, 0.0) + value.detach().sum()
        return share

    def _pull(self, tokens: slice, gradient: Tensor | None) -> None:
        if gradient is not None:
            own = gradient[:, : self.pull.shape[1]]
            self.pull.index_add_(0, self.rows.source[tokens], own.to(self.pull.dtype))

    def _cut(self, tokens: slice) -> Iterator[slice]:
        """Chunks of tokens, at least one."""
        for start in range(tokens.start, max(tokens.stop, tokens.start + 1), self.chunk_tokens):
            yield slice(start, min(start + self.chunk_tokens, tokens.stop))
