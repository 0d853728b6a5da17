"""Rows of several responses: who sees whom, which state predicts which token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.core.packing import pack
from pareto.data.pairs import Ragged, ResponseTable
from tests.core import small

TABLE = ResponseTable(
    Ragged.of([[10, 11], [20]]), Ragged.of([[12, 13], [14], [21, 22, 23], [24]]), np.array([0, 0, 1, 1])
)


def test_a_row_by_hand():
    rows = pack(TABLE, np.array([[0, 1]]), pad_token_id=0)
    assert rows.input_ids.tolist() == [[10, 11, 12, 13, 14]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert rows.source.tolist() == [1, 2, 1]  # both responses start from the prompt's last token
    assert rows.target.tolist() == [12, 13, 14]
    assert rows.response.tolist() == [0, 0, 1]
    assert rows.lengths.tolist() == [[2, 1]]
    assert rows.mask is not None
    assert rows.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_separate_rows_by_hand():
    rows = pack(TABLE, np.array([[0, 1]]), pad_token_id=0, share_prompts=False)
    assert rows.mask is None
    assert rows.input_ids.tolist() == [[10, 11, 12, 13], [10, 11, 14, 0]]
    assert rows.source.tolist() == [1, 2, 5]
    assert rows.target.tolist() == [12, 13, 14]
    assert rows.lengths.tolist() == [[2, 1]]


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("share", [True, False])
def test_scored_tokens_are_the_responses_in_order(k, share):
    table = small.table()
    examples = np.array([[6, 7, 8], [0, 1, 2], [3, 4, 5], [2, 2, 0]])[:, :k]
    rows = pack(table, examples, pad_token_id=0, share_prompts=share)
    assert rows.target.tolist() == np.concatenate([table.responses[i] for i in examples.ravel()]).tolist()
    assert rows.lengths.tolist() == table.responses.lengths[examples].tolist()
    counted = torch.bincount(rows.response, minlength=examples.size).view(examples.shape)
    assert counted.tolist() == rows.lengths.tolist()
    assert rows.input_ids.shape[0] == (len(examples) if share else examples.size)
    predicted_by = rows.input_ids.flatten()[rows.source]
    at = 0
    for i in examples.ravel():
        before = [table.prompts[table.prompt_of[i]][-1], *table.responses[i][:-1]]
        assert predicted_by[at : at + len(before)].tolist() == [int(t) for t in before]
        at += len(before)


def test_no_scored_token_sees_another_response_or_padding():
    table = small.table()
    rows = pack(table, np.array([[0, 1, 2], [6, 7, 8]]), pad_token_id=0)
    assert rows.mask is not None
    width = rows.input_ids.shape[1]
    for source, response in zip(rows.source.tolist(), rows.response.tolist()):
        row, column = divmod(source, width)
        seen = rows.mask[row, 0, column].nonzero().flatten()
        own = int(rows.position_ids[row, column]) + 1
        assert len(seen) == own  # the prompt and what stands before it in its own response
        assert rows.position_ids[row, seen].tolist() == list(range(own))
        assert response // 3 == row
