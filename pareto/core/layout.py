"""Packed rows laid out once more before they are scored: several policies in one pass, several views of one response.

An `Objective` with a `layout` sees more than its rows hold. Either way every example of the result has a number of its own,
by which the loss knows whose it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pareto.core.packing import PackedRows


def tiled(rows: PackedRows, copies: int) -> PackedRows:
    """The rows `copies` times, one block below the other: a block for each of several policies in one model.

    Args:
        rows: of B examples in R rows.
        copies: K.

    Returns:
        rows of K * B examples in K * R rows; example b of copy k is k * B + b, and so are responses and tokens.
    """
    height, width = rows.input_ids.shape
    step = torch.arange(copies, device=rows.source.device).repeat_interleave(len(rows.source))
    tokens = int(rows.ends[-1]) if len(rows.ends) else 0
    return replace(
        rows,
        input_ids=rows.input_ids.repeat(copies, 1),
        position_ids=rows.position_ids.repeat(copies, 1),
        mask=None if rows.mask is None else rows.mask.repeat(copies, 1, 1, 1),
        source=rows.source.repeat(copies) + step * (height * width),
        target=rows.target.repeat(copies),
        response=rows.response.repeat(copies) + step * rows.lengths.numel(),
        lengths=rows.lengths.repeat(copies, 1),
        ends=(rows.ends[None, :] + tokens * np.arange(copies)[:, None]).ravel(),
        n_tokens=rows.n_tokens * copies,
        beside=None if rows.beside is None else rows.beside.repeat(copies, 1),
    )


def viewed(rows: PackedRows, beside: Tensor) -> PackedRows:
    """Every response several times, each time with other numbers beside its hidden states; the body runs as before.

    Args:
        rows: of B examples of K responses.
        beside: [B, S, c] float, what stands beside the states of each of S views of an example.

    Returns:
        rows of B examples of K * S responses; view s of response k is k * S + s.
    """
    b, k = rows.lengths.shape
    s, c = beside.shape[1:]
    lengths = rows.lengths.flatten()
    begins = lengths.cumsum(0) - lengths
    many = lengths.repeat_interleave(s)  # [B * K * S]
    response = torch.arange(len(many), device=many.device).repeat_interleave(many)
    within = torch.arange(len(response), device=many.device) - (many.cumsum(0) - many)[response]
    at = begins.repeat_interleave(s)[response] + within
    numbers = beside[:, None].expand(b, k, s, c).reshape(-1, c)
    return replace(
        rows,
        source=rows.source[at],
        target=rows.target[at],
        response=response,
        lengths=rows.lengths.repeat_interleave(s, dim=1),
        ends=rows.ends * s,
        beside=numbers[response],
    )
