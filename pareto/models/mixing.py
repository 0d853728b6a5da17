"""Several trained policies in one model, mixed by coefficients that may differ from row to row.

A mixture is called like the Hugging Face model inside it, with `coefficients` [B, K] beside the token ids: row b of the
batch is computed by the reference plus sum_k c_bk times what policy k changed. Adapters are mixed inside one forward pass
(concatenated factors, the row's coefficients between them, float32 whatever the base's dtype); whole models by writing the
mixed parameters, one vector at a time. A coefficient of zero leaves its policy out, so that at a vertex the mixture is that
policy; coefficients may be negative or sum to anything, and it is for callers to say when they allow that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from pareto.errors import ArtifactError, ShapeError, UsageError
from pareto.models.lora_factors import Factors, Update


class Mixture(nn.Module, ABC):
    """What decoding and scoring ask of every mixture.

    Args:
        model: the model inside.
        n: how many policies are mixed.

    Attributes:
        per_row: whether the rows of a batch may have different coefficients.
        copies: how many rows of the key-value cache belong to a row of the batch; copy k of row b lies at k * B + b.
    """

    per_row = True
    copies = 1

    def __init__(self, model: Any, n: int) -> None:
        super().__init__()
        self.model, self.n = model, n
        self.config: Any = model.config
        self.generation_config: Any = getattr(model, "generation_config", None)
        self._now = torch.zeros(1, n)

    def get_base_model(self) -> Any:
        """The Hugging Face model inside."""
        return self.model

    @property
    def dtype(self) -> torch.dtype:
        """Of the model inside."""
        return self.model.dtype

    def forward(self, *, coefficients: Tensor | None = None, **inputs: Any) -> Any:
        """Logits of the mixed policies.

        Args:
            coefficients: [B, K], or [K] for all rows; None keeps those of `at`.
            inputs: of the model inside.
        """
        if coefficients is None:
            return self._mixed(**inputs)
        with self.at(coefficients):
            return self._mixed(**inputs)

    @contextmanager
    def at(self, coefficients: Tensor) -> Iterator[Any]:
        """Within the block the model computes the mixture with these coefficients; yields this mixture.

        Args:
            coefficients: [K] for every row, or [B, K].

        Raises:
            ShapeError: not one number per policy.
            UsageError: rows that differ where this mixture cannot have that.
        """
        before, self._now = self._now, self._checked(coefficients)
        self._changed()
        try:
            yield self
        finally:
            self._now = before
            self._changed()

    def keep(self, coefficients: Tensor) -> None:
        """Compute the mixture with these coefficients from now on; arguments and errors as in `at`."""
        self._now = self._checked(coefficients)
        self._changed()

    def _checked(self, coefficients: Tensor) -> Tensor:
        """[1 or B, K] float64."""
        rows = torch.atleast_2d(torch.as_tensor(coefficients, dtype=torch.float64))
        if rows.dim() != 2 or rows.shape[1] != self.n or not torch.isfinite(rows).all():
            raise ShapeError(
                f"expected finite coefficients [B, {self.n}]; got {list(rows.shape)}: {rows.tolist()!r:.200}"
            )
        if bool((rows == rows[:1]).all()):
            rows = rows[:1]
        elif not self.per_row:
            raise UsageError(
                "this mixture has one vector of coefficients at a time; call it once for each vector"
            )
        return rows

    @contextmanager
    def among(self, rows: Any) -> Iterator[Any]:
        """Within the block no rows but these [B, K] come; mixtures that run policies one by one leave unused ones out."""
        yield self

    @abstractmethod
    def _mixed(self, **inputs: Any) -> Any:
        """Call the model inside at the present coefficients."""

    @abstractmethod
    def _changed(self) -> None:
        """The coefficients are others now."""


Combine = Callable[[Tensor, Tensor, int], Tensor]
"""What stands between A and B: ([..., R] A x of n updates side by side, their coefficients [..., R], n) -> [..., R]."""


def sum_of_updates(inner: Tensor, c: Tensor, n: int) -> Tensor:
    """sum_k c_k B_k A_k x: every update with its own factors."""
    return inner * c


def average_of_factors(inner: Tensor, c: Tensor, n: int) -> Tensor:
    """(sum_k c_k B_k) (sum_k c_k A_k) x: factors averaged apart from each other, all of one rank."""
    averaged = (inner * c).unflatten(-1, (n, -1)).sum(-2)
    return averaged.repeat(*[1] * (averaged.dim() - 1), n) * c


@final
class AdapterMixture(Mixture):
    """One base model with K low-rank updates, mixed inside the forward pass.

    Each updated layer adds  B (c_b * (A x))  with the K updates' factors side by side: one pair of products of rank
    sum r_k, whatever the rows' coefficients are. The base's own arithmetic is untouched, so a quantised base stays what
    it is.

    Args:
        model: the reference, on its device; hooks are put on its layers.
        updates: [K].
        combine: how the factors of several updates make one.

    Raises:
        ArtifactError: a layer the model does not have, or of another shape.

    Source: Hu et al. (2021); the rows-in-one-product form is Sheng et al. (2023), S-LoRA, arXiv 2311.03285, with
    coefficients in place of one adapter per row.
    """

    def __init__(self, model: Any, updates: Sequence[Update], combine: Combine = sum_of_updates) -> None:
        super().__init__(model, len(updates))
        self._state = _Rows()
        layers = sorted({layer for update in updates for layer in update})
        modules = dict(model.named_modules())
        missing = [layer for layer in layers if layer not in modules]
        if missing:
            raise ArtifactError(f"the adapters change layers the model does not have, such as {missing[0]!r}")
        self.updates = nn.ModuleList(
            _LayerUpdate(layer, modules[layer], [u.get(layer) for u in updates], self._state, combine)
            for layer in layers
        )
        for layer, update in zip(layers, self.updates):
            modules[layer].register_forward_hook(update)
        self.per_row = self._rows_stay_apart()

    def _mixed(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    def _changed(self) -> None:
        self._state.set(self._now)

    @torch.no_grad()
    def _rows_stay_apart(self) -> bool:
        """Whether every updated layer sees a batch as a batch; some architectures flatten or sort it on the way."""
        device = next(self.model.parameters()).device
        ids = torch.ones(2, 3, dtype=torch.int64, device=device)
        self._state.seen = set()
        self.model(input_ids=ids, use_cache=False)
        apart = self._state.seen == {2}
        self._state.seen = None
        return apart or not len(self.updates)


@final
class _Rows:
    """The coefficients that all layers of a mixture look at."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None
        self.active: tuple[int, ...] = ()
        self.seen: set[int] | None = (
            None  # rows of inputs, while the mixture looks how its model calls the layers
        )
        self._spread: dict[tuple[tuple[int, ...], torch.device], Tensor] = {}

    def set(self, rows: Tensor) -> None:
        self.rows, self._spread = rows, {}
        self.active = tuple(torch.nonzero((rows != 0).any(0)).flatten().tolist())

    def spread(self, owners: tuple[int, ...], device: torch.device) -> Tensor:
        """[B or 1, R] float32: the coefficient of each column of the factors."""
        key = (owners, device)
        if key not in self._spread:
            assert self.rows is not None
            self._spread[key] = self.rows[:, list(owners)].to(torch.float32).to(device)
        return self._spread[key]


@final
class _LayerUpdate(nn.Module):
    """What the policies add to one layer's output; called as its forward hook."""

    def __init__(
        self, layer: str, module: Any, factors: Sequence[Factors | None], state: _Rows, combine: Combine
    ) -> None:
        super().__init__()
        self.layer, self._state, self._combine = layer, state, combine
        self.embedding = any(f is not None and f.embedding for f in factors)
        device = module.weight.device
        self._parts: dict[int, tuple[Tensor, Tensor]] = {}
        for k, f in enumerate(factors):
            if f is None:
                continue
            if f.embedding != isinstance(module, nn.Embedding):
                raise ArtifactError(
                    f"an update of layer {layer} is made for another kind of layer than the model has"
                )
            a = f.a.T.contiguous() if f.embedding else f.a
            self._parts[k] = (a.to(device), f.scaled_b.to(device))
        self._active: tuple[int, ...] | None = None
        self._joined: tuple[Tensor, Tensor, tuple[int, ...]] | None = None

    def forward(self, module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
        x, state = args[0], self._state
        if state.seen is not None:
            state.seen.add(x.shape[0] if x.dim() >= 2 + (not self.embedding) else -1)
        joined = self._join(state.active)
        if state.rows is None or joined is None:
            return output
        a, b, owners = joined
        n = len(set(owners))
        with torch.autocast(x.device.type, enabled=False):
            inner = nn.functional.embedding(x, a) if self.embedding else nn.functional.linear(x.float(), a)
            c = state.spread(owners, inner.device)
            if len(c) > 1:
                if inner.dim() < 3 or inner.shape[0] != len(c):
                    raise UsageError(
                        f"layer {self.layer} got an input of shape {list(x.shape)} for {len(c)} rows of coefficients; a "
                        "batch of another size needs other coefficients"
                    )
                c = c.view(len(c), *[1] * (inner.dim() - 2), -1)
            return output + nn.functional.linear(self._combine(inner, c, n), b).to(output.dtype)

    def _join(self, active: tuple[int, ...]) -> tuple[Tensor, Tensor, tuple[int, ...]] | None:
        """The factors side by side of the policies that have a share at present; kept until others have."""
        if active != self._active:
            here = [k for k in active if k in self._parts]
            self._active, self._joined = active, None
            if here:
                side = 1 if self.embedding else 0
                a = torch.cat([self._parts[k][0] for k in here], dim=side)
                b = torch.cat([self._parts[k][1] for k in here], dim=1)
                owners = tuple(k for k in here for _ in range(self._parts[k][1].shape[1]))
                self._joined = (a, b, owners)
        return self._joined
