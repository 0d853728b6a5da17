"""Mixtures that are written into a model's parameters: whole models, and adapters merged for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
from safetensors import safe_open

from pareto.errors import ArtifactError, UsageError
from pareto.models.lora_factors import Update
from pareto.models.mixing import Mixture


@final
class ParameterMixture(Mixture):
    """One model whose parameters become  theta_ref + sum_k c_k (theta_k - theta_ref).

    Policies are read from their files when their share is not zero, one tensor at a time, and summed in float64. At a
    vertex, where sum c = 1, the reference has no share and the parameters are that policy's own.

    Args:
        model: the reference; its parameters are overwritten.
        folders: [K] of fine-tuned models with the reference's shapes.

    Raises:
        ArtifactError: a parameter that a policy does not have in that shape.

    Source: Wortsman et al. (2022), Model soups; Rame et al. (2023), Rewarded soups, arXiv 2306.04488, Eq. 1.
    """

    per_row = False

    def __init__(self, model: Any, folders: Sequence[Path]) -> None:
        super().__init__(model, len(folders))
        self._files = [_tensor_files(folder) for folder in folders]
        self._reference = {name: p.detach().clone() for name, p in model.named_parameters()}
        for folder, files in zip(folders, self._files):
            for name, p in self._reference.items():
                if name not in files:
                    raise ArtifactError(f"{folder} does not hold the parameter {name!r} of its reference")
                with safe_open(files[name], "pt") as file:
                    shape = file.get_slice(name).get_shape()
                if list(shape) != list(p.shape):
                    raise ArtifactError(
                        f"{folder}: parameter {name!r} must be {list(p.shape)} as in the reference; got {shape}"
                    )
        self._written: tuple[float, ...] = (0.0,) * self.n

    def _mixed(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    @torch.no_grad()
    def _changed(self) -> None:
        c = tuple(self._now[0].tolist())
        if c == self._written or not any(c):  # leaving a block costs nothing; the next one writes anew
            return
        rest = 1.0 - sum(c)
        rest = 0.0 if abs(rest) < 1e-12 else rest
        for name, p in self.model.named_parameters():
            total = torch.zeros(p.shape, dtype=torch.float64)
            for share, files in zip(c, self._files):
                if share:
                    with safe_open(files[name], "pt") as file:
                        total += share * file.get_tensor(name).double()
            if rest:
                total += rest * self._reference[name].double().cpu()
            p.copy_(total.to(p.dtype))
        self._written = c


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Parameter name -> the file of a model's folder that holds it."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


@torch.no_grad()
def merge(model: Any, update: Update) -> Any:
    """Add an update to a model's weights for good.

    Args:
        model: the base; changed and returned.
        update: layer -> factors.

    Raises:
        UsageError: a quantised layer, or one whose weight another layer shares.
        ArtifactError: a layer the model does not have.
    """
    modules, owners = dict(model.named_modules()), _owners(model)
    for layer, factors in update.items():
        if layer not in modules:
            raise ArtifactError(f"the update changes the layer {layer!r}, which the model does not have")
        weight = modules[layer].weight
        if not weight.is_floating_point() or owners[weight.data_ptr()] > 1:
            raise UsageError(
                f"the weight of layer {layer} is quantised or tied to another layer's, so an update of one cannot be merged; "
                "export an adapter instead"
            )
        delta = factors.scaled_b.double() @ factors.a.double()
        turned = factors.embedding or type(modules[layer]).__name__ == "Conv1D"
        delta = (delta.T if turned else delta).to(weight.device)
        weight.copy_((weight.double() + delta).to(weight.dtype))
    return model


def _owners(model: Any) -> dict[int, int]:
    """Address of a weight -> how many layers have it."""
    count: dict[int, int] = {}
    for module in model.modules():
        weight = module._parameters.get("weight")
        if weight is not None:
            count[weight.data_ptr()] = count.get(weight.data_ptr(), 0) + 1
    return count
