"""LoRA adapters as what they compute: per layer a product of two thin matrices, read from and written to PEFT's layout.

    y = W x + scale * B (A x),    so that    sum_i w_i dW_i = [w_1 s_1 B_1, w_2 s_2 B_2, ...] [A_1; A_2; ...]

A weighted sum of updates is again an update, whose rank is at most the sum of the ranks: nothing is approximated. What
does not have this form (DoRA's norms, trained biases and copies of layers, initial values that change the base) is
refused with its name, because a sum of it would be a different model.

Source: Hu et al. (2021), arXiv 2106.09685; Kalajdzievski (2023), arXiv 2312.03732 for scale = alpha / sqrt(r).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from pareto.errors import ArtifactError, NumericsError, ShapeError, UsageError
from pareto.state import atomic

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_KEY = re.compile(
    r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>A\.weight|B\.weight|embedding_A|embedding_B)"
)
_COPY = re.compile(r"base_model\.model\.(?P<layer>.+)\.base_layer\.weight")
"""What PEFT stores beside the factors of an embedding: the base's own table, changed only if it was resized."""
_NEUTRAL = {
    *("alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out"),
    *("inference_mode", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core"),
    *("peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision", "target_modules"),
    *("task_type", "use_rslora", "init_lora_weights", "bias"),
}  # fmt: skip
"""Settings that leave the update a plain product; any other one that is set is not known to."""
_HARMLESS_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Initial values of the factors that leave the base as it is."""
_WHY = {
    "use_dora": "DoRA rescales every row of the sum by a norm of its own, so updates do not add up",
    "modules_to_save": "it holds trained copies of whole layers",
    "lora_bias": "it holds a trained bias beside the factors",
    "trainable_token_indices": "it holds trained rows of the embedding",
    "ensure_weight_tying": "one update stands for two tied layers",
    "alora_invocation_tokens": "it acts on a part of the tokens only",
}


@dataclass(frozen=True)
class Factors:
    """The update of one layer, scale * b @ a.

    Args:
        a: [r, in] float32; for an embedding [r, vocabulary].
        b: [out, r] float32; for an embedding [d, r].
        scale: alpha / r, or alpha / sqrt(r).
        embedding: whether the layer looks tokens up, so that its table moves by the transposed product.
    """

    a: Tensor
    b: Tensor
    scale: float = 1.0
    embedding: bool = False

    @property
    def rank(self) -> int:
        """Columns of b."""
        return self.a.shape[0]

    @property
    def scaled_b(self) -> Tensor:
        """[out, r] float32, the scale folded in."""
        return self.b * self.scale


Update = Mapping[str, Factors]
"""Layer name in the base model -> its update."""


def why_not(folder: Path) -> str | None:
    """Why an adapter is not a plain low-rank update, or None where it is; reads no tensor.

    Args:
        folder: an adapter in PEFT's layout.
    """
    config = read_config(folder)
    if config.get("peft_type") != "LORA":
        return f"it is of type {config.get('peft_type')!r}, not LORA"
    if config.get("bias", "none") != "none":
        return f"it trains the base's biases (bias={config['bias']!r})"
    start = config.get("init_lora_weights", True)
    if start not in _HARMLESS_STARTS:
        return f"its initial values (init_lora_weights={start!r}) change the base it stands on"
    for name, value in config.items():
        if value and name not in _NEUTRAL:
            return f"{name} is set: {_WHY.get(name, 'not known to leave the update a plain product')}"
    with safe_open(folder / WEIGHTS, "pt") as file:
        foreign = sorted(k for k in file.keys() if not (_KEY.fullmatch(k) or _COPY.fullmatch(k)))  # noqa: SIM118
    return f"it holds more than low-rank factors, such as {foreign[0]!r}" if foreign else None


def read_factors(folder: Path, base: Any = None) -> dict[str, Factors]:
    """Read an adapter.

    Args:
        folder: an adapter in PEFT's layout.
        base: the model it stands on; needed only where the adapter holds copies of the base's tables, to compare them.

    Raises:
        UsageError: not a plain LoRA, or copies that differ from the base; says why.
        ArtifactError: a factor without its partner, or of the wrong shape.
        NumericsError: a factor that is not finite.
    """
    if (reason := why_not(folder)) is not None:
        raise UsageError(f"the adapter {folder} cannot be mixed exactly: {reason}")
    config = read_config(folder)
    parts: dict[str, dict[str, Tensor]] = {}
    with safe_open(folder / WEIGHTS, "pt") as file:
        for key in sorted(file.keys()):
            if found := _KEY.fullmatch(key):
                part = found["part"].removesuffix(".weight")
                parts.setdefault(found["layer"], {})[part] = file.get_tensor(key).float()
            elif found := _COPY.fullmatch(key):
                _same_as_base(folder, found["layer"], file.get_tensor(key), base)
    return {layer: _factors(folder, layer, pair, config) for layer, pair in parts.items()}


def has_copies(folder: Path) -> bool:
    """Whether an adapter holds copies of the base's tables."""
    with safe_open(folder / WEIGHTS, "pt") as file:
        return any(_COPY.fullmatch(key) for key in file.keys())  # noqa: SIM118 - not a mapping


def read_config(folder: Path) -> dict[str, Any]:
    """An adapter's settings.

    Raises:
        ArtifactError: none there, or not a JSON mapping.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"expected an adapter in PEFT's layout in {folder}: {error}") from error
    if not isinstance(config, dict):
        raise ArtifactError(f"{folder / CONFIG}: expected a mapping; got {type(config).__name__}")
    return config


def weighted_sum(updates: Sequence[Update], coefficients: Sequence[float]) -> dict[str, Factors]:
    """The update sum_i c_i dW_i, exactly: factors side by side, terms with c_i = 0 left out.

    Args:
        updates: [K] of one base; a layer that one of them leaves alone counts as zero there.
        coefficients: [K].

    Returns:
        layer -> factors with scale 1, whose rank is the sum of the ranks.

    Raises:
        ShapeError: a layer whose updates have different shapes.
    """
    terms = [(u, float(c)) for u, c in zip(updates, coefficients, strict=True) if c != 0]
    layers = dict.fromkeys(layer for update, _ in terms for layer in update)
    return {layer: _sum(layer, [(u[layer], c) for u, c in terms if layer in u]) for layer in sorted(layers)}


def reduced(factors: Factors, rank: int | None = None) -> tuple[Factors, float]:
    """The same update with as few columns as it needs.

    The product's singular values come from two thin QR decompositions and one small SVD, in float64; those below 1e-8 of
    the largest are rounding of float32 factors.

    Args:
        factors: of one layer.
        rank: most columns; None keeps every one that is needed.

    Returns:
        the update, and its relative error in the Frobenius norm (0 where nothing was cut).

    Source: Eckart and Young (1936): the best approximation of a rank keeps the largest singular values.
    """
    q_b, r_b = torch.linalg.qr(factors.scaled_b.double())
    q_a, r_a = torch.linalg.qr(factors.a.double().T)
    u, s, v = torch.linalg.svd(r_b @ r_a.T)
    needed = int((s > 1e-8 * s.max()).sum()) if len(s) else 0
    kept = max(1, needed if rank is None else min(rank, needed))
    lost = float(s[kept:needed].norm() / s.norm()) if kept < needed else 0.0
    if rank is None and kept >= factors.rank:
        return factors, 0.0
    root = s[:kept].sqrt()
    b = (q_b @ u[:, :kept]) * root
    a = (root[:, None] * v[:kept]) @ q_a.T
    return replace(factors, a=a.float().contiguous(), b=b.float().contiguous(), scale=1.0), lost


def padded(factors: Factors, rank: int) -> Factors:
    """The same update with zero columns up to a rank, scale folded in; engines want one rank for all layers."""
    more = rank - factors.rank
    a = torch.nn.functional.pad(factors.a, (0, 0, 0, more))
    return replace(factors, a=a, b=torch.nn.functional.pad(factors.scaled_b, (0, more)), scale=1.0)


def write_adapter(update: Update, folder: Path, targets: Sequence[str] | None = None) -> int:
    """Write an update as an ordinary PEFT adapter with scale 1 and one rank for all layers.

    Args:
        update: layer -> factors.
        folder: an empty folder.
        targets: short names of the layers, where those that were trained are known; None writes full names.

    Returns:
        the adapter's rank.

    Raises:
        UsageError: no layer is updated.
    """
    if not update:
        raise UsageError("an adapter needs at least one updated layer; the policies' updates are empty")
    rank = max(f.rank for f in update.values())
    tensors = {}
    for layer, factors in update.items():
        whole = padded(factors, rank)
        names = ("embedding_A", "embedding_B") if whole.embedding else ("A.weight", "B.weight")
        for name, tensor in zip(names, (whole.a, whole.b)):
            tensors[f"base_model.model.{layer}.lora_{name}"] = tensor.cpu().contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    atomic.write_json(
        folder / CONFIG,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": "",
            "inference_mode": True,
            "r": rank,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
            "bias": "none",
            "target_modules": sorted(targets or update),
        },
    )
    return rank


def _same_as_base(folder: Path, layer: str, copy: Tensor, base: Any) -> None:
    own = None if base is None else dict(base.named_modules()).get(layer)
    if (
        own is None
        or own.weight.shape != copy.shape
        or not torch.equal(own.weight.detach().cpu(), copy.to(own.weight.dtype))
    ):
        raise UsageError(
            f"the adapter {folder} cannot be mixed exactly: it holds a table of layer {layer} that is not its base's"
        )


def _factors(folder: Path, layer: str, pair: Mapping[str, Tensor], config: Mapping[str, Any]) -> Factors:
    embedding = "embedding_A" in pair
    names = ("embedding_A", "embedding_B") if embedding else ("A", "B")
    if set(pair) != set(names):
        raise ArtifactError(
            f"{folder}: layer {layer} needs the factors {' and '.join(names)}; got {sorted(pair)}"
        )
    a, b = (pair[name] for name in names)
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != b.shape[1]:
        raise ArtifactError(
            f"{folder}: the factors of layer {layer} must be [r, in] and [out, r]; got {list(a.shape)}, {list(b.shape)}"
        )
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise NumericsError(f"{folder}: a factor of layer {layer} is not finite; the adapter is broken")
    patterns = config.get("alpha_pattern") or {}
    alpha = next(
        (value for p, value in patterns.items() if re.fullmatch(rf"(.*\.)?({p})", layer)),
        config["lora_alpha"],
    )
    rank = a.shape[0]
    return Factors(a, b, alpha / (rank**0.5 if config.get("use_rslora") else rank), embedding)


def _sum(layer: str, terms: Sequence[tuple[Factors, float]]) -> Factors:
    shapes = {(f.embedding, f.a.shape[1], f.b.shape[0]) for f, _ in terms}
    if len(shapes) > 1:
        raise ShapeError(f"the updates of layer {layer} must have one shape; got {sorted(shapes)}")
    a = torch.cat([f.a for f, _ in terms])
    b = torch.cat([f.b * (f.scale * c) for f, c in terms], dim=1)
    return Factors(a, b, 1.0, terms[0][0].embedding)
