"""Heads mixed by weights: what serves action heads once they are trained.

Logits are linear in the head, sum_j w_j (W_j h) = (sum_j w_j W_j) h, so a weight vector costs one merge and then one head.
Mixed logits are mixed log-probabilities after normalisation: pi_w is the weighted geometric mean of the K policies.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.errors import ArtifactError, ShapeError
from pareto.models.adapters import first_adapter, load_backbone
from pareto.models.heads import FACTS, TENSORS, base_of


class FullMixture(nn.Module):
    """The merged head sum_j w_j W_j, in float32.

    Args:
        weight: [V, d].
        bias: [V] or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, hidden: Tensor, original: nn.Linear) -> Tensor:
        """[..., d] -> [..., V]; the reference's head has no part in it."""
        return F.linear(hidden.float(), self.get_buffer("weight"), self.bias)  # type: ignore[arg-type]


class LowRankMixture(nn.Module):
    """W_0 + sum_j w_j P_j Q_j as factors of rank K r, in float32; one weight vector for all rows or one a row.

    Args:
        down: [K r, d], the Q_j one below the other.
        up: [V, K r], the P_j one beside the other.
        scale: [K r] or [B, K r], the weight of every factor.
    """

    def __init__(self, down: Tensor, up: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("down", down, persistent=False)
        self.register_buffer("up", up * scale if scale.ndim == 1 else up, persistent=False)
        self.register_buffer("scale", None if scale.ndim == 1 else scale, persistent=False)

    def forward(self, hidden: Tensor, original: nn.Linear) -> Tensor:
        """[B, ..., d] -> [B, ..., V], with W_0 the reference's head."""
        inner = F.linear(hidden.float(), self.get_buffer("down"))
        if self.scale is not None:
            scale = self.get_buffer("scale")
            inner = inner * scale.view(len(scale), *[1] * (inner.ndim - 2), -1)
        return original(hidden).float() + F.linear(inner, self.get_buffer("up"))


class MixedHead(nn.Module):
    """The head of a policy at given weights: merged once, then as cheap as one head.

    Where the backbone is an adapter, switching the adapter off switches the mixture off: what is left is the reference.

    Args:
        original: the reference's head.
        mixture: what the heads make of it.
        model: the policy; its first adapter layer is asked whether adapters are on.
    """

    def __init__(self, original: nn.Linear, mixture: FullMixture | LowRankMixture, model: Any) -> None:
        super().__init__()
        self.original, self.mixture = original, mixture
        self._adapter = first_adapter(model)  # a tuple: not a part of the head

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., d] -> [..., V] float32."""
        if any(layer.disable_adapters for layer in self._adapter):
            return self.original(hidden).float()
        return self.mixture(hidden, self.original)


def load_mixed(reference: Any, folder: Path) -> Any:
    """Load a policy with action heads at the weights its `policy.json` states.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.
    """
    named = _read_json(folder / "policy.json").get("weights")
    names = stored_objectives(folder)
    if not isinstance(named, dict) or set(named) != set(names):
        raise ArtifactError(
            f"{folder / 'policy.json'} must give a weight for each of {', '.join(names)}; got {named!r:.120}"
        )
    return mix_heads(load_backbone(reference, folder).eval(), folder, [named[n] for n in names])


@torch.no_grad()
def mix_heads(model: Any, folder: Path, weights: Sequence[float] | np.ndarray) -> Any:
    """Give a model the mixture of stored heads at some weights, in place; an earlier mixture goes.

    Args:
        model: a backbone that belongs to the heads.
        folder: where the heads lie.
        weights: [K], summing to 1, in the order of the stored objectives; or, for low-rank heads, [B, K]: one vector for
            each row of a forward pass.

    Returns:
        the model.

    Raises:
        ArtifactError: the stored heads do not fit the model.
        ShapeError: weights of another shape.
    """
    base = base_of(model)
    head = base.get_output_embeddings()
    original = head.original if isinstance(head, MixedHead) else head
    w = torch.as_tensor(np.asarray(weights, dtype=np.float32))
    k = len(stored_objectives(folder))
    if w.ndim not in (1, 2) or w.shape[-1] != k:
        raise ShapeError(f"weights must be [{k}] or [B, {k}]; got {list(w.shape)}")
    mixture = _read_mixture(folder, w, original.weight.shape)
    base.set_output_embeddings(MixedHead(original, mixture.to(original.weight.device), model))
    return model


def stored_objectives(folder: Path) -> tuple[str, ...]:
    """The objectives of stored heads, in the order of the heads.

    Raises:
        ArtifactError: no heads there.
    """
    names = _read_json(folder / FACTS).get("objectives")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ArtifactError(f"{folder / FACTS} must list the objectives of the heads; got {names!r:.120}")
    return tuple(names)


def _read_mixture(folder: Path, w: Tensor, shape: Sequence[int]) -> FullMixture | LowRankMixture:
    """Merge stored heads, one in memory at a time where they are whole matrices."""
    from safetensors import SafetensorError, safe_open

    k = w.shape[-1]
    try:
        with safe_open(folder / TENSORS, "pt") as file:
            names = set(file.keys())
            if "0.weight" in names:
                if w.ndim == 2:
                    raise ShapeError(
                        "full heads serve one weight vector at a time; weights a row need low-rank heads"
                    )
                check_shape(folder, file.get_slice("0.weight").get_shape(), shape)
                weight = _sum(file, "weight", w)
                return FullMixture(weight, _sum(file, "bias", w) if "0.bias" in names else None)
            down = [file.get_tensor(f"{j}.down") for j in range(k)]
            up = [file.get_tensor(f"{j}.up") for j in range(k)]
    except (OSError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder / TENSORS} cannot be read: {error}; the policy is incomplete"
        ) from error
    check_shape(folder, [len(up[0]), down[0].shape[1]], shape)
    return LowRankMixture(torch.cat(down), torch.cat(up, dim=1), w.repeat_interleave(len(down[0]), dim=-1))


def _sum(file: Any, name: str, w: Tensor) -> Tensor:
    total = None
    for j in range(len(w)):
        part = file.get_tensor(f"{j}.{name}").mul_(w[j])
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def check_shape(folder: Path, got: Sequence[int], wanted: Sequence[int]) -> None:
    """Refuse heads [V, d] of another base model.

    Raises:
        ArtifactError: the shapes differ.
    """
    if list(got) != list(wanted):
        raise ArtifactError(
            f"{folder / TENSORS} holds heads of {list(got)}; the reference's head has {list(wanted)}: another base model"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}; the policy is incomplete") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} must hold a mapping; got {type(content).__name__}")
    return content
