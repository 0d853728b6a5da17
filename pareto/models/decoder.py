"""One batch on its way through a model: rows of tokens, their cache, their coefficients; rows may leave and join."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.models.prefix_cache import PrefixCache, plain_layers, takes


@final
class Decoder:
    """The next token's logits of a batch, with whatever cache the model keeps.

    Args:
        model: a causal model on its device, or a mixture.
        prompts: [B] token ids, at least one each.
        pad: any valid token id.
        coefficients: [B, K] of a mixture.
        prefixes: of prompts that were read before.
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        pad: int,
        coefficients: Tensor | None = None,
        prefixes: PrefixCache | None = None,
    ) -> None:
        device = next(model.parameters()).device
        width = max(map(len, prompts))
        ids = np.full((len(prompts), width), pad, dtype=np.int64)
        mask = np.zeros((len(prompts), width), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = prompt
            mask[row, width - len(prompt) :] = 1
        self.model, self.device, self.coefficients = model, device, coefficients
        self.ids, self.mask = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
        self.cache: Any = None if prefixes is None else prefixes.read(model, prompts, coefficients)
        self.positions = takes(model, "position_ids")

    def logits(self) -> Tensor:
        """[B, V] of the next token."""
        inputs = {"input_ids": self.ids, "attention_mask": self.mask, "use_cache": True}
        positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
        if self.cache is not None:
            inputs |= {"input_ids": self.ids[:, -1:], "past_key_values": self.cache}
            positions = positions[:, -1:]
        if self.positions:
            inputs["position_ids"] = positions
        if self.coefficients is not None:
            inputs["coefficients"] = self.coefficients
        out = self.model(**inputs)
        self.cache = getattr(out, "past_key_values", None)  # models without one read the whole row again
        return out.logits[:, -1]

    def append(self, tokens: Tensor, alive: Tensor | None = None) -> None:
        """Add a token to every row.

        Args:
            tokens: [B] int64.
            alive: [B] bool, rows whose token counts; others stay as they are, behind a gap that nobody sees, and their next
                logits mean nothing. None: all.
        """
        column = torch.ones_like(tokens) if alive is None else alive.to(tokens.dtype)
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.mask = torch.cat([self.mask, column[:, None]], dim=1)

    def keep(self, rows: list[int]) -> bool:
        """Go on with some rows only, in this order, one or several times each; False where the cache cannot be cut."""
        if self.cache is not None and not hasattr(self.cache, "batch_select_indices"):
            return False
        kept = torch.tensor(rows, device=self.device)
        if self.cache is not None:
            copies = torch.arange(getattr(self.model, "copies", 1), device=self.device)
            self.cache.batch_select_indices((copies[:, None] * len(self.ids) + kept).flatten())
        self.ids, self.mask = self.ids[kept], self.mask[kept]
        if self.coefficients is not None:
            self.coefficients = self.coefficients[rows]
        return True

    def join(self, other: Decoder) -> bool:
        """Take another batch's rows behind one's own, between two steps; False where the two cannot be put together.

        Both must have read the same of their rows: all tokens but the last. Shorter rows are padded on the left.

        Args:
            other: of the same model; not used any more afterwards.
        """
        from transformers import DynamicCache

        mine, theirs = plain_layers(self.cache), plain_layers(other.cache)
        if not self.positions or mine is None or theirs is None:
            return False
        width = max(self.ids.shape[1], other.ids.shape[1])
        copies = getattr(self.model, "copies", 1)
        joined = DynamicCache()
        for layer, (own, more) in enumerate(zip(mine, theirs, strict=True)):
            key, value = (_beside(own[part], more[part], copies, width - 1) for part in (0, 1))
            joined.update(key, value, layer)
        self.cache = joined
        self.ids = torch.cat([_padded(self.ids, width), _padded(other.ids, width)])
        self.mask = torch.cat([_padded(self.mask, width), _padded(other.mask, width)])
        if self.coefficients is not None and other.coefficients is not None:
            self.coefficients = torch.cat([self.coefficients, other.coefficients])
        return True

    def trim(self) -> None:
        """Drop columns on the left that no row uses any more."""
        from transformers import DynamicCache

        layers = plain_layers(self.cache)
        used = self.mask.any(dim=0)
        unused = int(used.int().argmax())
        if not unused or layers is None or not self.positions:
            return
        self.ids, self.mask = self.ids[:, unused:], self.mask[:, unused:]
        cut = DynamicCache()
        for layer, (k, v) in enumerate(layers):
            cut.update(k[..., unused:, :], v[..., unused:, :], layer)
        self.cache = cut


def _padded(rows: Tensor, width: int) -> Tensor:
    """[B, width] with zeros on the left."""
    return torch.nn.functional.pad(rows, (width - rows.shape[1], 0))


def _beside(own: Tensor, more: Tensor, copies: int, width: int) -> Tensor:
    """[copies * (B + C), heads, width, d] from [copies * B, ...] and [copies * C, ...], each padded on the left."""
    parts = [
        torch.nn.functional.pad(t, (0, 0, width - t.shape[-2], 0)).unflatten(0, (copies, -1))
        for t in (own, more)
    ]
    return torch.cat(parts, dim=1).flatten(0, 1)
