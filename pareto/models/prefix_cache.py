"""What was computed of a prompt's beginning, kept for the next prompt that begins so under the same policy and weights.

Keys and values depend on the tokens and on everything that made the hidden states: the policy and its mixing coefficients.
All of it is in the key, because a beginning read under other weights silently takes back most of the steering. Prompts are
read alone and in blocks of fixed length whether or not a block is known, so that a warm cache gives the very bits of a
cold one.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pareto.errors import UsageError

Layers = list[tuple[Tensor, Tensor]]
"""Keys and values [rows, heads, T, d] of each layer."""


@final
class PrefixCache:
    """A bounded cache of prompt blocks; the least recently used go first.

    Args:
        policy: digest of everything but tokens and coefficients: base, adapters, rule, dtype. One cache may serve one
            policy only; another policy gets a cache with its own digest.
        block_tokens: >= 1, tokens of a block.
        max_bytes: most memory of keys and values.

    Attributes:
        hits, misses: blocks found and not found so far.
    """

    def __init__(self, policy: str, *, block_tokens: int = 32, max_bytes: int = 1 << 30) -> None:
        if block_tokens < 1 or max_bytes < 0:
            raise UsageError(
                f"block_tokens must be at least 1 and max_bytes at least 0; got {block_tokens}, {max_bytes}"
            )
        self.policy, self.block_tokens, self.max_bytes = policy, block_tokens, max_bytes
        self.hits = self.misses = self.bytes = 0
        self._blocks: OrderedDict[tuple[Any, ...], Layers] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    @torch.no_grad()
    def read(self, model: Any, prompts: Sequence[Sequence[int]], coefficients: Tensor | None) -> Any:
        """Keys and values of all prompts but their last tokens, padded on the left.

        Args:
            model: a causal model or a mixture.
            prompts: token ids, at least one each.
            coefficients: [B, K] of a mixture, else None.

        Returns:
            a cache whose rows are the prompts (copy by copy where the model keeps several), or None where every prompt is
            a single token.

        Raises:
            UsageError: the model keeps something else than keys and values of every token.
        """
        from transformers import DynamicCache

        width = max(map(len, prompts)) - 1
        if not width:
            return None
        rows = [
            self._prompt(model, list(prompt[:-1]), None if coefficients is None else coefficients[i])
            for i, prompt in enumerate(prompts)
        ]
        shape = next(row for row in rows if row)  # the longest one has layers
        joined = DynamicCache()
        for layer in range(len(shape)):
            pair = [
                _stack([row[layer][part] if row else None for row in rows], shape[layer][part], width)
                for part in (0, 1)
            ]
            joined.update(pair[0], pair[1], layer)
        return joined

    def _prompt(self, model: Any, tokens: list[int], coefficients: Tensor | None) -> Layers:
        """Layers of one row; [] for no tokens."""
        known: Layers = []
        for start in range(0, len(tokens), self.block_tokens):
            stop = min(start + self.block_tokens, len(tokens))
            key = self._key(model, tokens[:stop], coefficients)
            whole = stop - start == self.block_tokens
            block = self._get(key) if whole else None
            if block is None:
                block = _forward(model, tokens[start:stop], start, known, coefficients)
                if whole:
                    self._put(key, block)
            known = block if not known else [
                (torch.cat([k, more_k], dim=-2), torch.cat([v, more_v], dim=-2))
                for (k, v), (more_k, more_v) in zip(known, block)
            ]  # fmt: skip
        return known

    def _key(self, model: Any, tokens: list[int], coefficients: Tensor | None) -> tuple[Any, ...]:
        mixed = b"" if coefficients is None else coefficients.double().numpy().tobytes()
        parts = tuple(getattr(model, "used", ()))
        return (
            "policy",
            self.policy,
            "parts",
            parts,
            "mixed",
            mixed,
            "tokens",
            np.array(tokens, np.int64).tobytes(),
        )

    def _get(self, key: tuple[Any, ...]) -> Layers | None:
        block = self._blocks.get(key)
        if block is None:
            self.misses += 1
            return None
        self.hits += 1
        self._blocks.move_to_end(key)
        return block

    def _put(self, key: tuple[Any, ...], block: Layers) -> None:
        size = _size(block)
        if size > self.max_bytes:
            return
        self._blocks[key] = block
        self.bytes += size
        while self.bytes > self.max_bytes:
            _, oldest = self._blocks.popitem(last=False)
            self.bytes -= _size(oldest)


def _forward(model: Any, tokens: list[int], start: int, known: Layers, coefficients: Tensor | None) -> Layers:
    """Keys and values of one block that follows `start` known tokens."""
    from transformers import DynamicCache

    past = DynamicCache()
    for layer, (k, v) in enumerate(known):
        past.update(k, v, layer)
    device = next(model.parameters()).device
    stop = start + len(tokens)
    inputs: dict[str, Any] = {
        "input_ids": torch.tensor([tokens], device=device),
        "attention_mask": torch.ones(1, stop, dtype=torch.int64, device=device),
        "past_key_values": past,
        "use_cache": True,
    }
    if takes(model, "position_ids"):
        inputs["position_ids"] = torch.arange(start, stop, device=device)[None]
    if coefficients is not None:
        inputs["coefficients"] = coefficients[None]
    layers = plain_layers(model(**inputs).past_key_values)
    if layers is None or any(k.shape[-2] != stop for k, _ in layers):
        raise UsageError(
            "a prefix cache needs a model that keeps keys and values of every token; this one keeps something else: go "
            "without the cache"
        )
    return [(k[..., start:, :].clone(), v[..., start:, :].clone()) for k, v in layers]


def plain_layers(cache: Any) -> Layers | None:
    """Keys and values of a cache that holds those of every token, else None."""
    from transformers import DynamicCache

    layers = getattr(cache, "layers", [])
    if type(cache) is not DynamicCache or not layers:
        return None
    plain = all(type(layer).__name__ == "DynamicLayer" and layer.is_initialized for layer in layers)
    return [(layer.keys, layer.values) for layer in layers] if plain else None


def _stack(rows: Sequence[Tensor | None], like: Tensor, width: int) -> Tensor:
    """[copies * B, heads, width, d] from B rows [copies, heads, T_b, d], zeros where a row is shorter."""
    copies, heads, _, d = like.shape
    out = like.new_zeros(copies, len(rows), heads, width, d)
    for b, row in enumerate(rows):
        if row is not None:
            out[:, b, :, width - row.shape[-2] :] = row
    return out.flatten(0, 1)


def _size(block: Layers) -> int:
    return sum(t.numel() * t.element_size() for pair in block for t in pair)


def takes(model: Any, argument: str) -> bool:
    """Whether a model's forward pass knows an argument; adapters and mixtures are looked through."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(base.forward).parameters
