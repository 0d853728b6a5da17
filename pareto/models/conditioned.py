"""A weight-conditioned low-rank update of a model's head: one stored policy that is another one at every weight vector.

    logits(h, w) = W_0 h + B diag(g(w)) A h

with W_0 the reference's head, frozen, and g a gate (`pareto.models.gates`). B is zero at the start, so that every weight
vector begins at the reference. The backbone below is trained too and does not see w: one pass of it serves every weight
vector, in training (`pareto.core.layout.viewed`) as in decoding, where a row of a batch costs what it costs anyway.

At fixed w the update is an ordinary low-rank one of the head, B diag(g(w)) beside A; `conditioned_factors` gives it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from pareto import rng
from pareto.config import Config
from pareto.errors import ArtifactError, ConfigError, ShapeError
from pareto.models.adapters import load_backbone
from pareto.models.gates import Gate, Part
from pareto.models.heads import base_of
from pareto.state import atomic

FACTS, TENSORS = "conditioned.json", "conditioned.safetensors"
"""Files of the update, beside those of the backbone."""


class ConditionedHeadConfig(Config):
    """How the head's update depends on the weights.

    Source: this suite. Columns at w_j alone are action heads (Li et al., 2025, arXiv 2510.01167), whose mixture is the exact
    optimum only where every token can be normalised on its own; products and the network are what that leaves out. Rank and
    gain: on the lab, columns of size 8 learn faster than of size 4 or 1 (reports/log.md).
    """

    gate: tuple[Part, ...] = Field(
        default=("linear", "products"),
        min_length=1,
        description="parts of the gate: constant, linear, products, mlp; (constant, linear) are singular values that w sets",
    )
    r: int = Field(default=16, ge=1, description="columns of each term of a part")
    gain: float = Field(
        default=8.0,
        gt=0,
        description="size of the columns A h at the start: B acts so much faster at the same learning rate, as with LoRA's "
        "alpha / r",
    )

    @field_validator("gate")
    @classmethod
    def _each_once(cls, gate: tuple[Part, ...]) -> tuple[Part, ...]:
        if len(set(gate)) < len(gate):
            raise ValueError(f"a gate has each part once; got {', '.join(gate)}")
        if set(gate) == {"constant"}:
            raise ValueError("a gate of constants does not see the weights; add linear, products or mlp")
        return gate


class ConditionedHead(nn.Module):
    """The head of a weight-conditioned model.

    Args:
        original: the reference's head; not trained.
        gate: [..., m] -> [..., R].
        seed: of A; B is zero.
        gain: size of A h at the start.

    Attributes:
        weights: [m], or [B, m] for the rows of a batch: used where no weights stand beside the states; None: the reference's
            own head.
    """

    def __init__(self, original: nn.Linear, gate: Gate, seed: int, gain: float = 1.0) -> None:
        super().__init__()
        self.original, self.gate = original.requires_grad_(False), gate
        self.weights: Tensor | None = None
        draw = torch.Generator().manual_seed(seed)
        # Hidden states leave a norm with entries of size 1; the columns then have the size of the gain.
        bound = gain * (3.0 / original.in_features) ** 0.5
        a = torch.empty(gate.columns, original.in_features).uniform_(-bound, bound, generator=draw)
        self.a = nn.Parameter(a.to(original.weight.device))
        self.b = nn.Parameter(torch.zeros(original.out_features, gate.columns, device=original.weight.device))
        gate.to(original.weight.device)

    def forward(self, states: Tensor) -> Tensor:
        """Logits of states, each under the weights beside it.

        Args:
            states: [..., d + m] hidden states and weights, or [B, ..., d] under `weights`.

        Returns:
            [..., V].
        """
        d = self.original.in_features
        hidden, w = states[..., :d], states[..., d:]
        if w.shape[-1] == 0:
            if self.weights is None:
                return self.original(hidden)
            w = self.weights
            if w.ndim == 2 and len(w) > 1:
                w = w.view(len(w), *[1] * (hidden.ndim - 2), -1)
        inner = F.linear(hidden.to(self.a.dtype), self.a) * self.gate(w.to(self.a.dtype))
        return self.original(hidden.to(self.original.weight.dtype)) + F.linear(inner, self.b)


def attach_conditioned(model: Any, config: ConditionedHeadConfig, m: int, *, seed: int) -> ConditionedHead:
    """Give a model a weight-conditioned head, which at first computes what its own head computes.

    Args:
        model: a Hugging Face causal model, or a PEFT model around one, whose backbone is ready to be trained.
        config: form of the update.
        m: objectives.
        seed: of first values.

    Raises:
        ConfigError: the model's head is no plain matrix.
    """
    base = base_of(model)
    original = base.get_output_embeddings()
    if not isinstance(original, nn.Linear) or not original.weight.is_floating_point():
        raise ConfigError(
            f"a conditioned head stands on a plain linear head; this model's is a {type(original).__name__}: leave the head "
            "out of the adapter's targets, and do not quantise it"
        )
    gate = Gate(config.gate, m, config.r, rng.derive_seed("gate", seed) % 2**31)
    head = ConditionedHead(original, gate, rng.derive_seed("conditioned head", seed) % 2**31, config.gain)
    base.set_output_embeddings(head)
    return head


def save_conditioned(
    head: ConditionedHead, config: ConditionedHeadConfig, objectives: Sequence[str], folder: Path
) -> None:
    """Write the update beside its backbone; the order of the objectives is that of the weights."""
    from safetensors.torch import save

    kept = {n: t.detach().cpu().float().contiguous() for n, t in head.named_parameters() if t.requires_grad}
    atomic.write_bytes(folder / TENSORS, save(kept))
    facts = {"objectives": list(objectives), **config.model_dump(mode="json")}
    atomic.write_json(folder / FACTS, facts)


def release(model: Any, head: ConditionedHead) -> None:
    """Put the model's own head back."""
    base_of(model).set_output_embeddings(head.original)


@dataclass(frozen=True)
class StoredUpdate:
    """A stored update, whatever it stands on.

    Args:
        objectives: m names, in the order of the weights.
        gate: g.
        a: [R, d] float32.
        b: [V, R] float32.
    """

    objectives: tuple[str, ...]
    gate: Gate
    a: Tensor
    b: Tensor

    @torch.no_grad()
    def scaled_b(self, weights: Sequence[float] | np.ndarray) -> Tensor:
        """[V, R] B diag(g(w)) at [m] weights: with A an ordinary low-rank update of scale 1."""
        return self.b * self.gate(torch.as_tensor(np.asarray(weights, dtype=np.float32)))


def read_conditioned(folder: Path) -> StoredUpdate:
    """Read what `save_conditioned` wrote.

    Raises:
        ArtifactError: a file is missing, broken, or does not fit the other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        tensors = load((folder / TENSORS).read_bytes())
        names = tuple(str(n) for n in facts.pop("objectives"))
        config = ConditionedHeadConfig.model_validate_json(json.dumps(facts))
        gate = Gate(config.gate, len(names), config.r, 0)
        a, b = tensors.pop("a"), tensors.pop("b")
        gate.load_state_dict({n.removeprefix("gate."): t for n, t in tensors.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"the weight-conditioned head in {folder} cannot be read: {error}; the policy is incomplete"
        ) from error
    if a.ndim != 2 or b.ndim != 2 or not a.shape[0] == b.shape[1] == gate.columns:
        raise ArtifactError(
            f"{folder / TENSORS}: A must be [{gate.columns}, d] and B [V, {gate.columns}]; got {list(a.shape)}, {list(b.shape)}"
        )
    return StoredUpdate(names, gate.requires_grad_(False), a, b)


def load_conditioned(reference: Any, folder: Path) -> Any:
    """Load a weight-conditioned policy at the weights its `policy.json` states.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.
    """
    stored = read_conditioned(folder)
    try:
        named = json.loads((folder / "policy.json").read_text(encoding="utf-8")).get("weights")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder / 'policy.json'} cannot be read: {error}") from error
    if not isinstance(named, dict) or set(named) != set(stored.objectives):
        raise ArtifactError(
            f"{folder / 'policy.json'} must give a weight for each of {', '.join(stored.objectives)}; got {named!r:.120}"
        )
    model = load_backbone(reference, folder).eval()
    set_weights(put_on(model, stored), [named[n] for n in stored.objectives])
    return model


def put_on(model: Any, stored: StoredUpdate) -> ConditionedHead:
    """Give a backbone its conditioned head.

    Raises:
        ArtifactError: it is another model's.
    """
    base = base_of(model)
    original = base.get_output_embeddings()
    if list(original.weight.shape) != [stored.b.shape[0], stored.a.shape[1]]:
        raise ArtifactError(
            f"the stored head is [{stored.b.shape[0]}, {stored.a.shape[1]}], the model's {list(original.weight.shape)}: "
            "another base model"
        )
    head = ConditionedHead(original, stored.gate, 0).requires_grad_(False)
    head.a.data, head.b.data = stored.a.to(original.weight.device), stored.b.to(original.weight.device)
    base.set_output_embeddings(head)
    return head


def set_weights(head: ConditionedHead, weights: Sequence[float] | np.ndarray | Tensor) -> None:
    """Let a head compute the policy of [m] weights, or of [B, m] weights in a batch of B rows.

    Raises:
        ShapeError: another shape.
    """
    w = torch.as_tensor(weights).to(head.a.device, head.a.dtype)
    if w.ndim not in (1, 2) or w.shape[-1] != head.gate.m:
        raise ShapeError(f"weights must be [{head.gate.m}] or [B, {head.gate.m}]; got {list(w.shape)}")
    head.weights = w
