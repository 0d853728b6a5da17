"""Several LoRA policies on one frozen base, trained side by side in one forward pass.

A batch holds its rows once for every policy, policy after policy. The base computes them together, and each policy's own
update is one slice of a batched product: the arithmetic of K separate trainings with one copy of the base and fuller products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.errors import ConfigError, ShapeError
from pareto.models.adapters import LoRA, attach
from pareto.models.lora_factors import Factors, write_adapter


class LayerBank(nn.Module):
    """The K updates of one layer.

    Args:
        a: [r, in] first values of every policy's A; B is zero.
        out: width of the layer's output.
        k: policies.
        adapter: scale and dropout.
    """

    def __init__(self, a: Tensor, out: int, k: int, adapter: LoRA) -> None:
        super().__init__()
        self.a = nn.Parameter(a.detach().clone().repeat(k, 1, 1))
        self.b = nn.Parameter(a.new_zeros(k, out, a.shape[0]))
        self.scale, self.dropout = adapter.alpha / adapter.r, adapter.dropout

    def forward(self, x: Tensor) -> Tensor:
        """[K * R, T, in] -> [K * R, T, out], what each policy adds."""
        blocks = x.reshape(len(self.a), -1, x.shape[-1]).to(self.a.dtype)
        blocks = F.dropout(blocks, self.dropout, self.training)
        inner = torch.bmm(blocks, self.a.transpose(1, 2))
        return (self.scale * torch.bmm(inner, self.b.transpose(1, 2))).view(*x.shape[:-1], -1)

    def one(self, x: Tensor, policy: int) -> Tensor:
        """[..., in] -> [..., out], what one policy adds to any batch."""
        inner = F.linear(x.to(self.a.dtype), self.a[policy])
        return self.scale * F.linear(inner, self.b[policy])


@final
class AdapterBank(nn.Module):
    """K adapters of one base, each at first without effect.

    Args:
        model: the reference on its device; it becomes the frozen base, with hooks on its layers and this bank as its part
            `adapter_bank`.
        adapter: what each policy trains.
        k: policies; all begin with the same A, as separate trainings from one seed do.
        seed: of A.

    Raises:
        ConfigError: the adapter is to change the head or the embedding, whose inputs are no blocks of rows.
    """

    def __init__(self, model: Any, adapter: LoRA, k: int, *, seed: int) -> None:
        super().__init__()
        self.k, self._height = k, 0
        self._only: int | None = None
        peft_model = attach(model, adapter, seed=seed)
        starts = {
            name.removeprefix("base_model.model."): (m.lora_A["default"].weight, m.out_features)
            for name, m in peft_model.named_modules()
            if hasattr(m, "lora_A") and "default" in m.lora_A
        }
        base = peft_model.unload().requires_grad_(False)
        modules = dict(base.named_modules())
        outside = {id(base.get_output_embeddings()), id(base.get_input_embeddings())}
        if bad := [name for name in starts if id(modules[name]) in outside]:
            raise ConfigError(
                f"adapters trained side by side leave head and embedding alone; take {bad[0]!r} out of the adapter's targets"
            )
        self.names = sorted(starts)
        self.layers = nn.ModuleList(LayerBank(*starts[name], k, adapter) for name in self.names)
        self._hooks = [
            modules[name].register_forward_hook(self._adding(layer))
            for name, layer in zip(self.names, self.updates())
        ]
        self._base = (base,)  # a tuple: the base holds the bank, not the other way round
        base.add_module("adapter_bank", self)

    def updates(self) -> list[LayerBank]:
        """The layers' updates, in the order of `names`."""
        return [layer for layer in self.layers if isinstance(layer, LayerBank)]

    @property
    def base(self) -> Any:
        """The frozen base; what is trained of it is this bank."""
        return self._base[0]

    def release(self) -> Any:
        """Take the policies off the base, and give it back."""
        for hook in self._hooks:
            hook.remove()
        del self.base.adapter_bank
        return self.base

    @contextmanager
    def only(self, policy: int) -> Iterator[Any]:
        """Within the block the base computes one policy, whatever the batch; yields the base."""
        self._only = policy
        try:
            yield self.base
        finally:
            self._only = None

    def expect(self, rows: int) -> None:
        """Say how high the batches are that hold all policies' rows; any other batch is the base's own.

        Raises:
            ShapeError: not a block for each policy.
        """
        if rows % self.k:
            raise ShapeError(f"{rows} rows cannot hold a block for each of {self.k} policies")
        self._height = rows

    def clip(self, parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
        """Scale every policy's gradients down to a norm of its own, in place.

        Args:
            parameters: of this bank.
            limit: > 0, largest norm of one policy.

        Returns:
            scalar, mean of the policies' norms before.
        """
        found = [p.grad for p in parameters if p.grad is not None]
        norm = torch.stack([g.flatten(1).square().sum(1) for g in found]).sum(0).sqrt()  # [K]
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for g in found:
            g.mul_(factor.view(-1, 1, 1))
        return norm.mean()

    def factors(self, policy: int) -> dict[str, Factors]:
        """Layer -> update of one policy."""
        return {
            name: Factors(
                layer.a[policy].detach().float().cpu(), layer.b[policy].detach().float().cpu(), layer.scale
            )
            for name, layer in zip(self.names, self.updates())
        }

    def save(self, policy: int, folder: Path) -> None:
        """Write one policy as an ordinary adapter in PEFT's layout."""
        write_adapter(self.factors(policy), folder, sorted({name.rpartition(".")[2] for name in self.names}))

    def _adding(self, layer: LayerBank) -> Any:
        def add(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if self._only is not None:
                return output + layer.one(args[0], self._only).to(output.dtype)
            return output + layer(args[0]).to(output.dtype) if len(args[0]) == self._height else output

        return add
