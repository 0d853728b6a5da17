"""Rows of tokens for one forward pass: responses of one prompt share it.

An example is one prompt with K responses. Its row is [prompt | response 1 | ... | response K] with a block mask (a
response sees the prompt and itself) and position ids that restart after the prompt, so the prompt is computed once
however many responses it has. Without sharing, every response gets a row of its own. Either way the tokens that are
scored come out example by example, response by response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto.data.pairs import ResponseTable


@dataclass(frozen=True)
class PackedRows:
    """Tensors of one forward pass over B examples of K responses; N is the number of response tokens.

    Args:
        input_ids: [R, T] int64, right-padded rows.
        position_ids: [R, T] int64.
        mask: [R, 1, T, T] bool, who attends to whom, or None where plain causal attention is right.
        source: [N] int64, flat position (row * T + column) whose hidden state predicts the token.
        target: [N] int64, the token.
        response: [N] int64 in 0..B*K-1, the response the token belongs to, ascending.
        lengths: [B, K] int64, tokens of each response.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor | None
    source: Tensor
    target: Tensor
    response: Tensor
    lengths: Tensor

    @property
    def n_tokens(self) -> int:
        """Tokens in the rows without padding are not counted here: this is the true input size, R * T."""
        return self.input_ids.numel()


def _ramp(lengths: np.ndarray) -> np.ndarray:
    """[sum(lengths)]: 0..l-1 for every length l, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def pack(
    table: ResponseTable,
    examples: np.ndarray,
    *,
    pad_token_id: int,
    share_prompts: bool = True,
    device: str | torch.device = "cpu",
) -> PackedRows:
    """Lay out examples for one forward pass.

    Args:
        table: prompts and responses; prompts are at least one token long.
        examples: [B, K] int64, response indices; the K responses of an example answer one prompt.
        pad_token_id: any valid token id; padding is never attended to by what is scored.
        share_prompts: False for models whose attention a block mask cannot express.
        device: where the tensors go.
    """
    b, k = examples.shape
    owners = np.repeat(np.arange(b), 1 if share_prompts else k)  # which example's prompt each row carries
    per_row = examples if share_prompts else examples.reshape(-1, 1)
    prompt = table.prompt_of[examples[owners, 0]]
    prompt_lengths = table.prompts.lengths[prompt]
    lengths = table.responses.lengths[per_row]  # [R, K'] with K' = K or 1
    starts = prompt_lengths[:, None] + np.cumsum(lengths, axis=1) - lengths
    width = int((prompt_lengths + lengths.sum(1)).max())
    rows = len(per_row)

    ids = np.full((rows, width), pad_token_id, dtype=np.int64)
    positions = np.zeros((rows, width), dtype=np.int64)
    block = np.full((rows, width), -1, dtype=np.int64)  # -1 padding, 0 prompt, j response j

    within = _ramp(prompt_lengths)
    at = np.repeat(np.arange(rows), prompt_lengths)
    ids[at, within] = table.prompts.flat[np.repeat(table.prompts.offsets[prompt], prompt_lengths) + within]
    positions[at, within] = within
    block[at, within] = 0

    flat_lengths = lengths.ravel()
    within = _ramp(flat_lengths)
    at = np.repeat(np.repeat(np.arange(rows), lengths.shape[1]), flat_lengths)
    column = np.repeat(starts.ravel(), flat_lengths) + within
    target = table.responses.flat[np.repeat(table.responses.offsets[per_row.ravel()], flat_lengths) + within]
    last_prompt = np.repeat(np.repeat(prompt_lengths, lengths.shape[1]), flat_lengths) - 1
    ids[at, column] = target
    positions[at, column] = last_prompt + 1 + within
    block[at, column] = np.repeat(np.tile(np.arange(1, lengths.shape[1] + 1), rows), flat_lengths)
    source = at * width + np.where(within == 0, last_prompt, column - 1)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)

    mask = None
    if lengths.shape[1] > 1:
        blocks = torch.from_numpy(block).to(device)
        causal = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        mask = (causal & ((blocks[:, None, :] == 0) | (blocks[:, :, None] == blocks[:, None, :])))[:, None]
    return PackedRows(
        tensor(ids),
        tensor(positions),
        mask,
        tensor(source),
        tensor(target),
        tensor(np.repeat(np.arange(b * k), flat_lengths)),
        tensor(flat_lengths.reshape(b, k)),
    )
