"""Layouts: shared prompts give back every sequence, unpaired examples never meet their own prompt."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.data.example_sets import ExampleSet, Layout, share_prompts, unpaired_examples
from pareto.data.pairs import Ragged, ResponseTable
from pareto.errors import DataError, ShapeError


@pytest.mark.parametrize("seed", range(4))
def test_prompt_and_response_together_are_what_was_given(seed):
    draw = np.random.default_rng(seed)
    items = [
        [
            ([1, *draw.integers(2, 4, draw.integers(0, 5)).tolist()], draw.integers(5, 9, 3).tolist())
            for _ in range(3)
        ]
        for _ in range(6)
    ]
    table, examples, context = share_prompts(items)
    for item, row in zip(items, examples):
        for (prompt, response), r in zip(item, row):
            whole = [*table.prompts[table.prompt_of[r]], *table.responses[r]]
            assert whole == [*prompt, *response]
            assert list(table.responses[r][context[r] :]) == response
        first = [prompt for prompt, _ in item]
        shared = len(table.prompts[table.prompt_of[row[0]]])
        assert len({tuple(p[:shared]) for p in first}) == 1
        longer = {tuple(p[: shared + 1]) for p in first}
        assert len(longer) > 1 or min(map(len, first)) == shared


def test_prompts_with_nothing_in_common_start_with_a_given_token():
    items = [[([3, 4], [5]), ([7], [5])]]
    with pytest.raises(DataError, match="beginning-of-text"):
        share_prompts(items)
    table, examples, context = share_prompts(items, start=1)
    assert [list(table.prompts[0]), *(list(table.responses[r]) for r in examples[0])] == [
        [1],
        [3, 4, 5],
        [7, 5],
    ]
    assert context.tolist() == [2, 1]


def test_examples_have_as_many_responses():
    with pytest.raises(ShapeError, match="as many"):
        share_prompts([[([1], [2])], [([1], [2]), ([1], [3])]])


def prompts_of(sizes):
    """A table of `sizes[p]` responses to prompt p; response r is the one token 10 + r."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    return ResponseTable(
        Ragged.of([[1, p] for p in range(len(sizes))]),
        Ragged.of([[10 + r] for r in range(len(owners))]),
        owners,
    )


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2, 4), (5, 1, 1), (1, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_mismatched_responses_answer_another_prompt(sizes, seed):
    table = prompts_of(sizes)
    responses = np.arange(sum(sizes))
    made = unpaired_examples(table, responses, responses % 2 == 0, seed=seed)
    for own, other in made.examples:
        assert made.table.prompt_of[own] == made.table.prompt_of[other]
        origin = int(made.table.responses[int(other)][0]) - 10
        assert table.prompt_of[origin] != table.prompt_of[own]
    assert made.columns["label"].tolist() == [1.0 - r % 2 for r in responses]
    again = unpaired_examples(table, responses, responses % 2 == 0, seed=seed)
    assert again.table.sha256() == made.table.sha256()


def test_every_response_is_mismatched_once_where_no_prompt_has_most_of_them():
    made = unpaired_examples(prompts_of((3, 2, 4, 3)), np.arange(12), np.ones(12))
    used = [int(made.table.responses[int(other)][0]) for other in made.examples[:, 1]]
    assert sorted(used) == list(range(10, 22))


def test_no_baseline_and_no_second_prompt():
    table = prompts_of((3,))
    with pytest.raises(DataError, match="two prompts"):
        unpaired_examples(table, np.arange(3), np.ones(3))
    assert unpaired_examples(table, np.arange(3), np.ones(3), baseline=False).examples.shape == (3, 1)
    with pytest.raises(DataError, match="label"):
        unpaired_examples(table, np.arange(3), np.array([1.0, 0.5, 0.0]))


def test_what_does_not_fit_is_refused():
    table = prompts_of((2,))
    with pytest.raises(ShapeError, match="'weight'"):
        ExampleSet(table, np.array([[0, 1]]), columns={"weight": np.ones(2)})
    with pytest.raises(ShapeError, match="lie beyond"):
        ExampleSet(table, np.array([[0, 1]]), Layout({"rationale": (2,)}))
