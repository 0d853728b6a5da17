"""Rows of tokens for one forward pass: responses of one prompt share it, and short examples share a row.

An example is one prompt with K responses, laid out as [prompt | response 1 | ... | response K]. A block mask lets a
response see the prompt and itself, and position ids restart after the prompt, so the prompt is computed once however many
responses it has. Several examples stand in one row where that saves padding; the mask keeps them apart. Without sharing,
every response gets a row of its own. Either way the tokens that are scored come out example by example, response by
response.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto.data.pairs import ResponseTable

DOUBLING_WIDTH = 2048
"""Width of a row at which attention costs as much as all else. A masked row pays for all pairs of its tokens: 4 T^2 d L
operations beside 24 T d^2 L, equal at T = 6 d; measured, forward and backward on a CPU at d = 256, it is 8 d. Larger models
have larger ones, so that this one packs too little there, never too much."""

WIDEST, TRIES = 4.0, 12
"""Bounds on a row's width are tried from one to four widths of the longest example; fewer for many examples, which first fit
packs well at any width."""

LITTLE_PADDING = 0.03
"""Share of padding that is not worth a search."""


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
        ends: [B] int64 on the host, response tokens up to the end of each example.
        n_tokens: tokens the model computes, without padding; a shared prompt counts once.
        beside: [N, c] float numbers that a head reads beside the hidden state which predicts the token, or None.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor | None
    source: Tensor
    target: Tensor
    response: Tensor
    lengths: Tensor
    ends: np.ndarray
    n_tokens: int
    beside: Tensor | None = None


def _ramp(lengths: np.ndarray) -> np.ndarray:
    """[sum(lengths)]: 0..l-1 for every length l, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def first_fit_decreasing(lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Put sequences into as few rows of bounded width as first fit finds, longest first.

    Args:
        lengths: [n] int64, none longer than `width`.
        width: largest sum of lengths in a row.

    Returns:
        [n] int64 row and [n] int64 first column of each sequence; ties go by position, so that nothing is left to chance.
    """
    rows, columns = np.empty(len(lengths), np.int64), np.empty(len(lengths), np.int64)
    filled: list[int] = []
    sizes = lengths.tolist()
    for i in np.argsort(-lengths, kind="stable").tolist():
        most = width - sizes[i]
        row = next((r for r, used in enumerate(filled) if used <= most), len(filled))
        if row == len(filled):
            filled.append(0)
        rows[i], columns[i] = row, filled[row]
        filled[row] += sizes[i]
    return rows, columns


def arrange(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of sequences, such that R * T * (1 + T / DOUBLING_WIDTH) is least: padding against attention.

    Args:
        lengths: [n] int64.

    Returns:
        as `first_fit_decreasing`; one sequence a row where packing does not pay.
    """
    apart = np.arange(len(lengths)), np.zeros(len(lengths), np.int64)

    def cost(plan: tuple[np.ndarray, np.ndarray]) -> float:
        width = int((plan[1] + lengths).max())
        return (int(plan[0].max()) + 1) * width * (1 + width / DOUBLING_WIDTH)

    if lengths.sum() >= (1 - LITTLE_PADDING) * len(lengths) * lengths.max():
        return apart
    tries = int(np.clip(2048 // len(lengths), 2, TRIES))
    widths = np.unique((lengths.max() * np.linspace(1.0, WIDEST, tries)).astype(np.int64)).tolist()
    return min([apart, *(first_fit_decreasing(lengths, width) for width in widths)], key=cost)


def pack(
    table: ResponseTable,
    examples: np.ndarray,
    *,
    pad_token_id: int,
    share_prompts: bool = True,
    share_rows: bool = True,
    device: str | torch.device = "cpu",
) -> PackedRows:
    """Lay out examples for one forward pass.

    Args:
        table: prompts and responses; prompts are at least one token long.
        examples: [B, K] int64, response indices; the K responses of an example answer one prompt.
        pad_token_id: any valid token id; padding is never attended to by what is scored.
        share_prompts: False for models whose attention a block mask cannot express: no sharing of any kind.
        share_rows: whether several examples may stand in one row, where that saves work.
        device: where the tensors go.
    """
    b, k = examples.shape
    # A unit is what stands together: a prompt and all its responses, or each response with a prompt of its own.
    units = examples if share_prompts else examples.reshape(-1, 1)
    prompt = table.prompt_of[units[:, 0]]
    prompt_lengths = table.prompts.lengths[prompt]
    lengths = table.responses.lengths[units]  # [U, K'] with K' = K or 1
    whole = prompt_lengths + lengths.sum(1)
    if share_prompts and share_rows:
        row, column = arrange(whole)
    else:
        row, column = np.arange(len(units)), np.zeros(len(units), np.int64)
    width, n_rows = int((column + whole).max()), int(row.max()) + 1

    ids = np.full((n_rows, width), pad_token_id, dtype=np.int64)
    positions = np.zeros((n_rows, width), dtype=np.int64)
    block = np.full(
        (n_rows, width), -1, dtype=np.int64
    )  # -1 padding; K' + 1 numbers a unit, its prompt's the first
    root = np.full((n_rows, width), -1, dtype=np.int64)  # number of the prompt that a token sees

    within = _ramp(prompt_lengths)
    unit = np.repeat(np.arange(len(units)), prompt_lengths)
    at, where = row[unit], column[unit] + within
    ids[at, where] = table.prompts.flat[table.prompts.offsets[prompt[unit]] + within]
    positions[at, where] = within
    block[at, where] = root[at, where] = unit * (lengths.shape[1] + 1)

    flat_lengths = lengths.ravel()
    within = _ramp(flat_lengths)
    response = np.repeat(np.arange(len(flat_lengths)), flat_lengths)
    unit, order = np.divmod(response, lengths.shape[1])
    target = table.responses.flat[table.responses.offsets[units.ravel()[response]] + within]
    last_prompt = column[unit] + prompt_lengths[unit] - 1
    starts = prompt_lengths[:, None] + np.cumsum(lengths, axis=1) - lengths
    at, where = row[unit], column[unit] + starts.ravel()[response] + within
    ids[at, where] = target
    positions[at, where] = prompt_lengths[unit] + within
    block[at, where] = unit * (lengths.shape[1] + 1) + 1 + order
    root[at, where] = unit * (lengths.shape[1] + 1)
    source = at * width + np.where(within == 0, last_prompt, where - 1)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device)

    alone = lengths.shape[1] == 1 and n_rows == len(units)
    return PackedRows(
        tensor(ids),
        tensor(positions),
        None if alone else _mask(tensor(block), tensor(root)),
        tensor(source),
        tensor(target),
        tensor(response),
        tensor(flat_lengths.reshape(b, k)),
        flat_lengths.reshape(b, k).sum(1).cumsum(),
        int(whole.sum()),
    )


def _mask(block: Tensor, root: Tensor) -> Tensor:
    """[R, 1, T, T] bool: what came before, in the token's own block or in its prompt. [R, T] numbers of both."""
    keys = block[:, None, :]
    return ((keys == block[:, :, None]) | (keys == root[:, :, None])).tril_()[:, None]
