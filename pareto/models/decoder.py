"""One batch on its way through a model: rows of tokens, their cache, their coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.models.prefix_cache import PrefixCache, takes


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

    def append(self, tokens: Tensor) -> None:
        """Add a token to every row."""
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        self.mask = torch.cat([self.mask, torch.ones_like(tokens)[:, None]], dim=1)

    def keep(self, rows: list[int]) -> bool:
        """Go on with some rows only; False where the cache cannot be cut."""
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
