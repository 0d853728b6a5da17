"""Logits of several policies for the same tokens, made one by a rule: a mixture of outputs instead of parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from pareto.errors import UsageError
from pareto.models.mixing import AdapterMixture, Mixture
from pareto.models.prefix_cache import takes

Rule = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""([K, B, T, V] float32 log-probabilities, [K, B, T] weights, [B, T, V] of the reference or None) -> [B, T, V]."""


@dataclass
class Mixed:
    """What a model's forward pass gives, as far as decoding and scoring look at it."""

    logits: Tensor
    past_key_values: Any = None


class Parts(nn.Module, ABC):
    """Policies that can be asked for their logits side by side.

    Args:
        n: how many, the reference not counted.
        config: of the model.
    """

    def __init__(self, n: int, model: Any) -> None:
        super().__init__()
        self.n, self.model = n, model

    @abstractmethod
    def copies(self, parts: int) -> int:
        """Rows of the key-value cache for each row of the batch, where so many policies are run."""

    @abstractmethod
    def logits(self, used: Sequence[int | None], inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """[len(used), B, T, V] in the model's dtype and a cache; None stands for the reference."""


@final
class AdapterRows(Parts):
    """Adapters on one base: a batch holds every row once for each policy, policy after policy."""

    def __init__(self, adapters: AdapterMixture) -> None:
        super().__init__(adapters.n, adapters.model)
        self.adapters = adapters

    def copies(self, parts: int) -> int:
        """One row for each policy."""
        return parts if self.adapters.per_row else 1

    def logits(self, used: Sequence[int | None], inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """One forward pass where the architecture keeps rows apart, else one for each policy."""
        shares = torch.zeros(len(used), self.n, dtype=torch.float64)
        for row, k in enumerate(used):
            if k is not None:
                shares[row, k] = 1.0
        if not self.adapters.per_row:
            calls = [lambda c=c, **given: self.adapters(coefficients=c, **given) for c in shares]
            return _one_by_one(calls, inputs)
        first: Tensor = inputs["input_ids"]
        tiled = {
            name: value.repeat(len(used), *[1] * (value.dim() - 1)) if isinstance(value, Tensor) else value
            for name, value in inputs.items()
        }
        out = self.adapters(coefficients=shares.repeat_interleave(len(first), dim=0), **tiled)
        return out.logits.unflatten(0, (len(used), len(first))), getattr(out, "past_key_values", None)


@final
class WholeModels(Parts):
    """Fine-tuned models, each with its own cache."""

    def __init__(self, models: Sequence[Any], reference: Any) -> None:
        super().__init__(len(models), reference)
        self.models = nn.ModuleList(models)

    def copies(self, parts: int) -> int:
        """Every model's cache has the batch's rows."""
        return 1

    def logits(self, used: Sequence[int | None], inputs: dict[str, Any]) -> tuple[Tensor, Any]:
        """One forward pass for each model."""
        return _one_by_one([self.model if k is None else self.models[k] for k in used], inputs)


@final
class _Caches:
    """Caches of several models that are cut and multiplied together."""

    def __init__(self, caches: Sequence[Any]) -> None:
        self.caches = list(caches)

    def batch_select_indices(self, rows: Tensor) -> None:
        for cache in self.caches:
            cache.batch_select_indices(rows)

    def batch_repeat_interleave(self, repeats: int) -> None:
        for cache in self.caches:
            cache.batch_repeat_interleave(repeats)


def _one_by_one(calls: Sequence[Callable[..., Any]], inputs: dict[str, Any]) -> tuple[Tensor, Any]:
    given = inputs.pop("past_key_values", None)
    if given is not None and not isinstance(given, _Caches):
        raise UsageError(
            "these policies keep a key-value cache each, and a prefix cache holds one: go without the cache"
        )
    past = [None] * len(calls) if given is None else given.caches
    outs = [call(**inputs, past_key_values=one) for call, one in zip(calls, past)]
    caches = [getattr(out, "past_key_values", None) for out in outs]
    whole = _Caches(caches) if all(hasattr(c, "batch_select_indices") for c in caches) else None
    return torch.stack([out.logits for out in outs]), whole


@final
class DecodingMixture(Mixture):
    """A causal model whose logits are a rule of several policies' logits.

    The rule sees float32 log-probabilities whatever the model's dtype: mixed in half precision, logits change their order.
    The reference is run only where the rule needs it: under the geometric mean its power 1 - sum w is 0.

    Args:
        parts: the policies.
        rule: how their log-probabilities become one.
        reference: whether the rule needs the reference's.

    Source: Shi et al. (2024), arXiv 2406.18853.
    """

    def __init__(self, parts: Parts, rule: Rule, reference: bool = False) -> None:
        super().__init__(parts.model, parts.n)
        self.parts, self._rule, self._reference = parts, rule, reference
        self.used: tuple[int, ...] = tuple(range(parts.n))

    def get_base_model(self) -> Any:
        """This mixture: the model inside computes one part only."""
        return self

    @property
    def copies(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of the cache for each row of the batch."""
        return self.parts.copies(len(self.used) + self._reference)

    @contextmanager
    def among(self, rows: Any) -> Iterator[Any]:
        """Within the block policies that no row [B, K] has a share of are not run."""
        before = self.used
        found = tuple(int(k) for k in range(self.n) if any(row[k] != 0 for row in rows))
        self.used = found or before
        try:
            yield self
        finally:
            self.used = before

    def forward(
        self,
        *,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        coefficients: Tensor | None = None,
        **inputs: Any,
    ) -> Any:
        """Mixed logits [B, T, V]; see `Mixture.forward`."""
        given = {"input_ids": input_ids, **inputs}
        if position_ids is not None and takes(self.model, "position_ids"):
            given["position_ids"] = position_ids
        return super().forward(coefficients=coefficients, **given)

    def _mixed(self, **inputs: Any) -> Any:
        used: list[int | None] = list(self.used)
        rows = self._now[:, list(self.used)]
        logits, cache = self.parts.logits(used + [None] * self._reference, inputs)
        logps = logits.float().log_softmax(-1)
        ref_logps = logps[-1] if self._reference else None
        weights = rows.T.to(device=logps.device, dtype=torch.float32)[:, :, None].expand(
            *logps[: len(used)].shape[:3]
        )
        return Mixed(self._rule(logps[: len(used)], weights, ref_logps), cache)

    def _changed(self) -> None:
        pass  # the coefficients act on what comes out
