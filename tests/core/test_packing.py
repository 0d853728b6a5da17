"""Rows of several responses and examples: who sees whom, which state predicts which token, what stands where."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from pareto.core.packing import DOUBLING_WIDTH, arrange, first_fit_decreasing, pack
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
    assert rows.n_tokens == 5
    assert rows.mask is not None
    assert rows.mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_two_examples_in_a_row_by_hand():
    table = ResponseTable(
        Ragged.of([[10, 11], [20], [30]]),
        Ragged.of([[12], [13], [21], [22], [31, 32, 33, 34], [35, 36]]),
        np.array([0, 0, 1, 1, 2, 2]),
    )
    rows = pack(table, np.array([[0, 1], [4, 5], [2, 3]]), pad_token_id=0)  # 4, 7 and 3 tokens
    assert rows.input_ids.tolist() == [[30, 31, 32, 33, 34, 35, 36], [10, 11, 12, 13, 20, 21, 22]]
    assert rows.position_ids.tolist() == [[0, 1, 2, 3, 4, 1, 2], [0, 1, 2, 2, 0, 1, 1]]
    assert rows.source.tolist() == [8, 8, 0, 1, 2, 3, 0, 5, 11, 11]
    assert rows.target.tolist() == [12, 13, 31, 32, 33, 34, 35, 36, 21, 22]
    assert rows.response.tolist() == [0, 1, 2, 2, 2, 2, 3, 3, 4, 5]
    assert rows.n_tokens == 14
    assert rows.mask is not None
    assert rows.mask[1, 0].int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0, 1],
    ]


def test_first_fit_decreasing_by_hand():
    rows, columns = first_fit_decreasing(np.array([3, 6, 5, 4, 3]), 10)
    assert rows.tolist() == [1, 0, 1, 0, 2]  # 6 and 4; 5 and 3; the last 3 finds 0 and 2 free
    assert columns.tolist() == [5, 0, 0, 6, 0]


@pytest.mark.parametrize("seed", range(5))
def test_an_arrangement_holds_everything_once_and_never_costs_more_than_rows_apart(seed):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, [5, 50, 400, 2000, 300][seed], 40)
    rows, columns = arrange(lengths)
    spans = sorted(zip(rows.tolist(), columns.tolist(), lengths.tolist()))
    for (row, column, length), (other, start, _) in pairwise(spans):
        assert (other, start) >= (row, column + length) if other == row else start == 0
    width = int((columns + lengths).max())

    def cost(n_rows, width):
        return n_rows * width * (1 + width / DOUBLING_WIDTH)

    assert cost(rows.max() + 1, width) <= cost(len(lengths), lengths.max())
    again = arrange(lengths)
    assert again[0].tolist() == rows.tolist()
    assert again[1].tolist() == columns.tolist()


def test_equal_lengths_stay_apart_and_ragged_ones_lose_their_padding():
    assert arrange(np.full(8, 256))[0].tolist() == list(range(8))
    lengths = np.random.default_rng(0).integers(128, 385, 8)
    rows, columns = arrange(lengths)
    area = (rows.max() + 1) * (columns + lengths).max()
    assert area < 0.85 * len(lengths) * lengths.max()
    assert area < 1.15 * lengths.sum()


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
    assert rows.input_ids.shape[0] <= (len(examples) if share else examples.size)
    assert rows.input_ids.shape[0] == examples.size or share
    assert rows.n_tokens == int((rows.input_ids != 0).sum())
    predicted_by = rows.input_ids.flatten()[rows.source]
    at = 0
    for i in examples.ravel():
        before = [table.prompts[table.prompt_of[i]][-1], *table.responses[i][:-1]]
        assert predicted_by[at : at + len(before)].tolist() == [int(t) for t in before]
        at += len(before)


@pytest.mark.parametrize("share_rows", [True, False])
def test_a_scored_token_sees_its_prompt_and_its_own_response_and_nothing_else(share_rows):
    table = small.table()
    examples = np.array([[0, 1, 2], [6, 7, 8], [3, 4, 5]])
    rows = pack(table, examples, pad_token_id=0, share_rows=share_rows)
    assert rows.mask is not None
    assert rows.input_ids.shape[0] == (1 if share_rows else 3)
    width = rows.input_ids.shape[1]
    begun: dict[int, int] = {}
    for source, response in zip(rows.source.tolist(), rows.response.tolist()):
        row, column = divmod(source, width)
        seen = rows.mask[row, 0, column].nonzero().flatten()
        one = examples.ravel()[response]
        t = begun[response] = begun.get(response, -1) + 1
        want = [*table.prompts[table.prompt_of[one]], *table.responses[one][:t]]
        assert rows.input_ids[row, seen].tolist() == [int(token) for token in want]
        assert rows.position_ids[row, seen].tolist() == list(range(len(want)))
