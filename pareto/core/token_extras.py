"""Figures of every response token that only the whole next-token distribution can give.

Each is a `TokenExtra`: it sees the logits of some tokens while they are alive and returns one number a token.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
from torch import Tensor

from pareto.core.logps import Scorer, make_scorer, run_model
from pareto.core.packing import PackedRows
from pareto.errors import ConfigError


@final
class Entropy:
    """Entropy of the next-token distribution, nats, without gradient."""

    def prepare(self, rows: PackedRows) -> None:
        """Nothing to prepare."""

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] -> [n]: log sum exp z - sum_v p_v z_v."""
        with torch.no_grad():
            return logits.logsumexp(-1) - (logits.softmax(-1) * logits).sum(-1)


@final
class MeanLogit:
    """Mean logit over the vocabulary, without gradient; what TRL logs as `logits/chosen` and `logits/rejected`."""

    def prepare(self, rows: PackedRows) -> None:
        """Nothing to prepare."""

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] -> [n]."""
        with torch.no_grad():
            return logits.mean(-1)


@final
class LogSumSquaredProbs:
    """log sum_v p_v^2, without gradient: what WPO divides a token's probability by.

    Source: Zhou et al. (2024), WPO, arXiv 2406.11827, Eq. 2.
    """

    def prepare(self, rows: PackedRows) -> None:
        """Nothing to prepare."""

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] -> [n]: lse(2 z) - 2 lse(z)."""
        with torch.no_grad():
            return (2.0 * logits).logsumexp(-1) - 2.0 * logits.logsumexp(-1)


@final
class LiveReference:
    """A reference model that is run beside the policy, for losses that want more of it than log-probabilities.

    Args:
        scorer: how to score with it.
        model: the model, in evaluation mode.
        off: context in which the model is the reference (adapters disabled).
    """

    def __init__(
        self,
        scorer: Scorer,
        model: Any,
        off: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.scorer, self.model, self.off = scorer, model, off
        self._states: tuple[PackedRows, Tensor] | None = None

    @torch.no_grad()
    def hidden(self, rows: PackedRows) -> Tensor:
        """[R * T, d] hidden states before the head."""
        with self.off():
            return self.scorer.hidden(rows)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """[n, d] -> [n, V] float32."""
        with self.off():
            return self.scorer.head(hidden)

    @torch.no_grad()
    def states(self, rows: PackedRows) -> Tensor:
        """[N, L, d] hidden states of every layer where each response token is predicted; kept for the latest rows."""
        if self._states is None or self._states[0] is not rows:
            base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
            with self.off():
                out = run_model(base.base_model, rows, output_hidden_states=True)
            layers = [h.flatten(0, 1)[rows.source] for h in out.hidden_states]
            self._states = rows, torch.stack(layers, dim=1).float()
        return self._states[1]

    @property
    def n_layers(self) -> int:
        """Layers in `states`, the embeddings included."""
        return self.model.config.get_text_config().num_hidden_layers + 1

    @property
    def width(self) -> int:
        """Size of each of `states`."""
        return self.model.config.get_text_config().hidden_size


def live_reference(model: Any, *, adapters_off: bool = False) -> LiveReference:
    """A model as live reference.

    Args:
        model: a frozen copy of the policy's start, or the policy itself with `adapters_off`.
        adapters_off: the model is a PEFT model whose base is the reference. Right only while nothing but adapters is
            trained; dropout of the base model, where it has any, stays as the policy has it.

    Raises:
        ConfigError: adapters are to be switched off but the model has none.
    """
    if not adapters_off:
        return LiveReference(make_scorer(model.eval()), model)
    if not hasattr(model, "disable_adapter"):
        raise ConfigError(
            "adapters_off needs a PEFT model, whose base is the reference; got "
            f"{type(model).__name__}; give a frozen copy of the starting model instead"
        )
    return LiveReference(make_scorer(model), model, model.disable_adapter)


@final
class ReferenceKL:
    """KL(reference || policy) of the next-token distributions, nats, with gradient into the policy.

    Args:
        reference: run on the same rows, one more forward pass a micro-batch.
    """

    def __init__(self, reference: LiveReference) -> None:
        self.reference = reference

    def prepare(self, rows: PackedRows) -> Tensor:
        """[R * T, d] hidden states of the reference."""
        return self.reference.hidden(rows)

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] -> [n]: sum_v q_v (log q_v - log p_v), q the reference."""
        ref = self.reference.logits(prepared[rows.source[tokens]]).log_softmax(-1)
        return (ref.exp() * (ref - logits.log_softmax(-1))).sum(-1)


@final
class ResponseKL:
    """KL between the next-token distributions of two responses of an example at the same token, with gradient.

    For answers in different places (after a clean and after a noisy prompt, say), lined up at their ends. The figure stands
    at the tokens of `first`; everywhere else, and where `second` has no token left, it is 0.

    Args:
        first, second: which of an example's K responses.
    """

    def __init__(self, first: int, second: int) -> None:
        self.first, self.second = first, second

    def prepare(self, rows: PackedRows) -> None:
        """Nothing to prepare."""

    def __call__(self, logits: Tensor, rows: PackedRows, tokens: slice, prepared: Any) -> Tensor:
        """[n, V] of whole examples -> [n].

        Raises:
            ConfigError: an example is cut in two, because its responses are longer than the chunk.
        """
        k = rows.lengths.shape[1]
        response = rows.response[tokens]
        ends = rows.lengths.flatten().cumsum(0)
        last = ends[(response[-1] // k) * k + k - 1]
        first = ends[(response[0] // k) * k] - rows.lengths.flatten()[(response[0] // k) * k]
        if int(last) != tokens.stop or int(first) != tokens.start:
            raise ConfigError(
                f"a divergence between responses needs all of an example at once; {len(response)} tokens of a chunk cut one "
                "in two; shorten the texts or score more tokens at once"
            )
        back = ends[response] - torch.arange(tokens.start, tokens.stop, device=response.device)
        # 1 at the last token: answers are lined up at their ends, whatever context precedes them
        example, slot = response // k, response % k
        largest = int(rows.lengths.max())
        key = example * (largest + 1) + back
        where = torch.full(((int(example.max()) + 1) * (largest + 1),), -1, device=response.device)
        of_second = slot == self.second
        at = torch.arange(len(response), device=response.device)
        where[key[of_second]] = at[of_second]
        partner = where[key]
        both = (slot == self.first) & (partner >= 0)
        logp = logits.log_softmax(-1)
        p, q = logp[both], logp[partner[both]]
        return logits.new_zeros(len(response)).index_put((at[both],), (p.exp() * (p - q)).sum(-1))
