"""Action heads as a mixture: every row of a batch under the head that its own weights make.

Logits are linear in the head, so sum_j w_j (W_j h) = (sum_j w_j W_j) h. Low-rank heads cost one product of rank K r whatever
the rows' weights are. Of whole heads the merged matrix of a weight vector is kept for its next token; where a batch has more
vectors than are kept, all heads are run and their logits mixed, which is the same sum in another order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareto.errors import ArtifactError, UsageError
from pareto.models.heads import TENSORS, base_of
from pareto.models.mixed_heads import check_shape, stored_objectives
from pareto.models.mixing import Mixture


class Heads(nn.Module, ABC):
    """K heads that make logits for rows with coefficients.

    Args:
        n: K.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    @abstractmethod
    def logits(self, hidden: Tensor, rows: Tensor, original: nn.Module) -> Tensor:
        """[B, T, V] float32 from states [B, T, d] and coefficients [B or 1, K] float64."""


@final
class WholeHeads(Heads):
    """K matrices.

    Args:
        weights: [K, V, d] float32.
        biases: [K, V] float32, or None.
        kept: how many merged heads are kept.
    """

    def __init__(self, weights: Tensor, biases: Tensor | None, kept: int = 8) -> None:
        super().__init__(len(weights))
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("biases", biases, persistent=False)
        self.kept = kept
        self._merged: OrderedDict[bytes, tuple[Tensor, Tensor | None]] = OrderedDict()

    def logits(self, hidden: Tensor, rows: Tensor, original: nn.Module) -> Tensor:
        """One merged head for each vector, or every head and the mixture of what they say."""
        if len(rows) == 1:
            return F.linear(hidden.float(), *self._head(rows[0]))
        vectors, which = rows.unique(dim=0, return_inverse=True)
        if len(vectors) > self.kept:
            return self._mixed(hidden, rows)
        out = hidden.new_empty(*hidden.shape[:-1], self.get_buffer("weights").shape[1], dtype=torch.float32)
        for k, vector in enumerate(vectors):
            where = (which == k).nonzero().flatten().to(hidden.device)
            out[where] = F.linear(hidden[where].float(), *self._head(vector))
        return out

    def _mixed(self, hidden: Tensor, rows: Tensor) -> Tensor:
        total = torch.zeros((), device=hidden.device)
        for j in range(self.n):
            share = rows[:, j].float().to(hidden.device).view(-1, *[1] * (hidden.dim() - 1))
            bias = None if self.biases is None else self.get_buffer("biases")[j]
            said = F.linear(hidden.float(), self.get_buffer("weights")[j], bias)
            total = total + torch.where(share == 0, torch.zeros_like(said), share * said)
        return total

    def _head(self, vector: Tensor) -> tuple[Tensor, Tensor | None]:
        key = vector.double().numpy().tobytes()
        if key not in self._merged:
            used = [(j, float(c)) for j, c in enumerate(vector.tolist()) if c != 0]
            weight = sum(c * self.get_buffer("weights")[j] for j, c in used)
            bias = None if self.biases is None else sum(c * self.get_buffer("biases")[j] for j, c in used)
            self._merged[key] = (weight, bias)  # type: ignore[assignment]
        self._merged.move_to_end(key)
        while len(self._merged) > self.kept:
            self._merged.popitem(last=False)
        return self._merged[key]


@final
class LowRankMixtures(Heads):
    """W_0 + P_j Q_j for K heads.

    Args:
        down: [K, r, d] float32, the Q_j.
        up: [K, V, r] float32, the P_j.
    """

    def __init__(self, down: Tensor, up: Tensor) -> None:
        super().__init__(len(down))
        self.rank = down.shape[1]
        self.register_buffer("down", down.flatten(0, 1), persistent=False)
        self.register_buffer("up", torch.cat(list(up), dim=1), persistent=False)

    def logits(self, hidden: Tensor, rows: Tensor, original: nn.Module) -> Tensor:
        """The frozen head's logits and what the rows' factors add."""
        c = rows.float().repeat_interleave(self.rank, dim=1).to(hidden.device)
        inner = F.linear(hidden.float(), self.get_buffer("down"))
        inner = inner * c.view(len(c), *[1] * (inner.dim() - 2), -1)
        return original(hidden).float() + F.linear(inner, self.get_buffer("up"))


@final
class HeadMixture(Mixture):
    """One backbone with K heads; row b of a batch has the head sum_j c_bj W_j.

    Args:
        model: the backbone, on its device; its own head is put aside.
        heads: of that backbone.

    Source: Li et al. (2025), arXiv 2510.01167: mixed logits of the heads.
    """

    def __init__(self, model: Any, heads: Heads) -> None:
        super().__init__(model, heads.n)
        base = base_of(model)
        self.place = _Place(base.get_output_embeddings(), heads)
        base.set_output_embeddings(self.place)

    def get_base_model(self) -> Any:
        """The Hugging Face model inside, below any adapter of the backbone."""
        return base_of(self.model)

    def _mixed(self, **inputs: Any) -> Any:
        return self.model(**inputs)

    def _changed(self) -> None:
        self.place.rows = self._now


class _Place(nn.Module):
    """Stands where the model's head stood."""

    def __init__(self, original: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.original, self.heads = original, heads
        self.rows: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        if self.rows is None:
            raise UsageError("heads need coefficients: which of them speaks")
        if len(self.rows) not in (1, hidden.shape[0]):
            raise UsageError(
                f"{hidden.shape[0]} rows of states came with {len(self.rows)} rows of coefficients"
            )
        return self.heads.logits(hidden, self.rows, self.original)


def read_heads(folder: Path, shape: Sequence[int]) -> Heads:
    """Stored heads, all in memory.

    Args:
        folder: of a policy of kind "heads".
        shape: [V, d] of the backbone's own head.

    Raises:
        ArtifactError: they cannot be read, or belong to another model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    k = len(stored_objectives(folder))
    try:
        tensors = load_file(folder / TENSORS)
        if "0.weight" in tensors:
            weights = torch.stack([tensors[f"{j}.weight"].float() for j in range(k)])
            bias = "0.bias" in tensors
            biases = torch.stack([tensors[f"{j}.bias"].float() for j in range(k)]) if bias else None
            check_shape(folder, weights.shape[1:], shape)
            return WholeHeads(weights, biases)
        down = torch.stack([tensors[f"{j}.down"].float() for j in range(k)])
        up = torch.stack([tensors[f"{j}.up"].float() for j in range(k)])
    except (OSError, KeyError, SafetensorError) as error:
        raise ArtifactError(
            f"{folder / TENSORS} cannot be read: {error}; the policy is incomplete"
        ) from error
    check_shape(folder, [up.shape[1], down.shape[2]], shape)
    return LowRankMixtures(down, up)
