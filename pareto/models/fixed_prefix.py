"""A model that reads the same tokens before everything, so that others need not know that they are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from pareto.models.adapters import first_adapter


@final
class FixedPrefix:
    """Puts tokens before every row that a body reads, and takes their states away again.

    Rows may hold several examples (`pareto.core.packing`): all of them see the one prefix in front, which sees itself only,
    so that each has what it would have with a prefix of its own. With a cache the prefix is read once. Where the model's
    adapters are switched off the prefix is too: what is left is the reference.

    Args:
        ids: [n] token ids.
        model: the policy; its first adapter layer is asked whether adapters are on.
    """

    def __init__(self, ids: Sequence[int], model: Any) -> None:
        self.ids = torch.tensor(list(ids), dtype=torch.int64)
        self._adapter = first_adapter(model)
        self._put = False

    def put_on(self, body: torch.nn.Module) -> list[Any]:
        """Let a body read the prefix; returns the hooks."""
        return [
            body.register_forward_pre_hook(self._before, with_kwargs=True),
            body.register_forward_hook(self._after),
        ]

    def _before(self, body: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._put = False
        if any(layer.disable_adapters for layer in self._adapter):
            return None
        ids = args[0] if args else kwargs["input_ids"]
        more = {k: v for k, v in kwargs.items() if k not in ("input_ids", "cache_position")}
        past = more.get("past_key_values")
        first = past is None or past.get_seq_length() == 0
        n = len(self.ids)
        if more.get("position_ids") is not None:
            more["position_ids"] = more["position_ids"] + n
        if first:
            self._put = True
            own = self.ids.to(ids.device).expand(len(ids), n)
            ids = torch.cat([own, ids], dim=1)
            if more.get("position_ids") is not None:
                before = torch.arange(n, device=ids.device).expand(len(more["position_ids"]), n)
                more["position_ids"] = torch.cat([before, more["position_ids"]], dim=1)
        if more.get("attention_mask") is not None:
            more["attention_mask"] = _widened(more["attention_mask"], n, first)
        return (), {"input_ids": ids, **more}

    def _after(self, body: torch.nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if self._put:
            output.last_hidden_state = output.last_hidden_state[:, len(self.ids) :]
            self._put = False
        return output


def _widened(mask: Tensor, n: int, rows_too: bool) -> Tensor:
    """A mask with n columns in front that everybody sees; and, where the prefix is among the rows, its own rows.

    Args:
        mask: [B, T] of 0 and 1, or [B, 1, Q, T] added to scores.
        n: tokens of the prefix.
        rows_too: whether the prefix is read with this mask.
    """
    if mask.ndim == 2:
        return torch.cat([mask.new_ones(len(mask), n), mask], dim=1)
    wide = torch.cat([mask.new_zeros(*mask.shape[:-1], n), mask], dim=-1)
    if not rows_too:
        return wide
    low = torch.finfo(mask.dtype).min
    own = mask.new_full((*mask.shape[:-2], n, wide.shape[-1]), low)
    own[..., :n] = torch.full((n, n), low, dtype=mask.dtype, device=mask.device).triu(1)
    return torch.cat([own, wide], dim=-2)
