"""Policies as a start plus a sum of updates: what extrapolation between rounds and moving references are made of.

With all weights trained an update is a difference of weights. With LoRA it is a product of two factors, and a sum of
updates is one adapter whose factors stand side by side:

    c_1 B_1 A_1 + c_2 B_2 A_2 = [c_1 B_1, c_2 B_2] [A_1; A_2]

so it is exact; adding the factors themselves would not be.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pareto.core.procedures.rounds import put, trainable
from pareto.errors import UsageError

Update = Mapping[str, Tensor]
"""Name -> tensor; what one round of training changed."""

Terms = Sequence[tuple[float, Update]]
"""A sum of updates with coefficients."""


class WeightSpace(ABC):
    """One model, and the places its training can put it."""

    @abstractmethod
    def update(self) -> Update:
        """Copies of what training has changed since the model last began from somewhere."""

    @abstractmethod
    def scaled(self, update: Update, by: float) -> Update:
        """An update times a number."""

    @abstractmethod
    def begin_from(self, terms: Terms) -> None:
        """Put the model at start + sum of terms, to be trained from there."""

    @abstractmethod
    def end_at(self, terms: Terms) -> None:
        """Put the model at start + sum of terms for good, in the form in which it is stored."""

    @abstractmethod
    def at(self, terms: Terms) -> Any:
        """Context in which the model stands at start + sum of terms, to be evaluated; afterwards it is where it was."""

    @abstractmethod
    def total(self, terms: Terms) -> Terms:
        """The same sum in as few terms as can be had exactly."""


def weight_space(model: Any) -> WeightSpace:
    """The weight space of a model: of its adapter where it has one, else of its trained weights.

    Raises:
        UsageError: an adapter other than plain LoRA, or one that already changes the model.
    """
    return LowRankSpace(model) if hasattr(model, "peft_config") else FullSpace(model)


class FullSpace(WeightSpace):
    """All trained weights. Keeps one copy of them beside the model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._start = {name: p.detach().clone() for name, p in trainable(model).items()}
        self._from: Terms = ()

    @torch.no_grad()
    def update(self) -> Update:
        """See `WeightSpace`."""
        begun = self._weights(self._from)
        return {name: p - begun[name] for name, p in trainable(self._model).items()}

    def scaled(self, update: Update, by: float) -> Update:
        """See `WeightSpace`."""
        return {name: by * tensor for name, tensor in update.items()}

    def begin_from(self, terms: Terms) -> None:
        """See `WeightSpace`."""
        self._from = self.total(terms)
        put(self._model, self._weights(self._from))

    def end_at(self, terms: Terms) -> None:
        """See `WeightSpace`."""
        self.begin_from(terms)

    @contextmanager
    def at(self, terms: Terms) -> Iterator[None]:
        """See `WeightSpace`."""
        present = {name: p.detach().clone() for name, p in trainable(self._model).items()}
        put(self._model, self._weights(terms))
        try:
            yield
        finally:
            put(self._model, present)

    def total(self, terms: Terms) -> Terms:
        """See `WeightSpace`."""
        if not terms:
            return ()
        return [(1.0, {name: sum(c * u[name] for c, u in terms) for name in terms[0][1]})]  # type: ignore[dict-item]  # sum starts at 0

    def _weights(self, terms: Terms) -> dict[str, Tensor]:
        return {
            name: start + sum(c * u[name].to(start) for c, u in terms) if terms else start
            for name, start in self._start.items()
        }


class LowRankSpace(WeightSpace):
    """A LoRA adapter on a frozen base. A sum of n updates of rank r is an adapter of rank n r."""

    TRAINED = "default"
    STANDING = "standing"

    def __init__(self, model: Any) -> None:
        self._model, self._config = model, model.peft_config.get(self.TRAINED)
        own = [n for n in trainable(model) if f".lora_A.{self.TRAINED}." not in n]
        odd = [n for n in own if f".lora_B.{self.TRAINED}." not in n]
        if set(model.peft_config) != {self.TRAINED} or odd or not own:
            raise UsageError(
                "sums of updates are exact for one plain LoRA adapter (no DoRA, biases, embeddings or saved modules); got "
                f"adapters {sorted(model.peft_config)}, other trained parameters {odd[:3]}"
            )
        if any(p.any() for n, p in trainable(model).items() if n in own):
            raise UsageError("the adapter must change nothing at the start (B = 0); this one already does")
        self._begin = {name: p.detach().clone() for name, p in trainable(model).items()}

    def update(self) -> Update:
        """See `WeightSpace`; B carries the adapter's scale."""
        found = {}
        for name, layer in self._layers():
            found[f"{name}/A"] = layer.lora_A[self.TRAINED].weight.detach().clone()
            found[f"{name}/B"] = layer.lora_B[self.TRAINED].weight.detach() * layer.scaling[self.TRAINED]
        return found

    def scaled(self, update: Update, by: float) -> Update:
        """See `WeightSpace`."""
        return {name: by * tensor if name.endswith("/B") else tensor for name, tensor in update.items()}

    def begin_from(self, terms: Terms) -> None:
        """See `WeightSpace`; the sum stands frozen below a fresh adapter."""
        self._drop(self.STANDING)
        put(self._model, self._begin)
        if terms:
            self._add(self.STANDING, terms)
        self._activate([self.STANDING, self.TRAINED] if terms else [self.TRAINED])

    def end_at(self, terms: Terms) -> None:
        """See `WeightSpace`."""
        self._drop(self.STANDING)
        if terms:
            self._drop(self.TRAINED)
            self._add(self.TRAINED, terms)
        else:
            put(self._model, self._begin)
        self._activate([self.TRAINED])
        self._model.active_adapter = self.TRAINED

    @contextmanager
    def at(self, terms: Terms) -> Iterator[None]:
        """See `WeightSpace`."""
        elsewhere = "elsewhere"
        active = self._model.base_model.active_adapters
        if terms:
            self._add(elsewhere, terms)
        self._activate([elsewhere] if terms else [])
        try:
            yield
        finally:
            self._activate(active)
            self._drop(elsewhere)

    def total(self, terms: Terms) -> Terms:
        """See `WeightSpace`."""
        return [(c, u) for c, u in terms if c]

    def _layers(self) -> list[tuple[str, Any]]:
        from peft.tuners.lora import LoraLayer

        return [(n, m) for n, m in self._model.base_model.model.named_modules() if isinstance(m, LoraLayer)]

    @torch.no_grad()
    def _add(self, adapter: str, terms: Terms) -> None:
        """A frozen adapter that is the sum of the terms."""
        factors = side_by_side(terms)
        config = copy.deepcopy(self._config)
        rank = next(iter(factors.values())).shape[0]  # names come in pairs, A first: [rank, in]
        config.r = config.lora_alpha = rank
        config.use_rslora, config.lora_dropout = False, 0.0
        config.rank_pattern, config.alpha_pattern = {}, {}
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices):  # its random start is overwritten and must not shift other draws
            self._model.add_adapter(adapter, config)
        for name, layer in self._layers():
            layer.lora_A[adapter].weight.copy_(factors[f"{name}/A"])
            layer.lora_B[adapter].weight.copy_(factors[f"{name}/B"])

    def _drop(self, adapter: str) -> None:
        if adapter in self._model.peft_config:
            self._model.base_model.delete_adapter(adapter)

    def _activate(self, adapters: Sequence[str]) -> None:
        """Make adapters take part in the forward pass; only the trained one takes gradients."""
        self._model.base_model.set_adapter(list(adapters))
        for name, parameter in self._model.named_parameters():
            parameter.requires_grad_(self.TRAINED in adapters and f".{self.TRAINED}." in name)


def side_by_side(terms: Terms) -> dict[str, Tensor]:
    """Factors of a sum of low-rank updates: A's on top of each other, coefficient times B's beside each other.

    Args:
        terms: at least one; "<layer>/A" [r, in] and "<layer>/B" [out, r] each, of any ranks r.

    Returns:
        the same names; A [sum of r, in], B [out, sum of r].
    """
    return {
        name: torch.cat([u[name] for _, u in terms], 0)
        if name.endswith("/A")
        else torch.cat([c * u[name] for c, u in terms], 1)
        for name in terms[0][1]
    }
