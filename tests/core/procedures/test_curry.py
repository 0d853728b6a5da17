"""The curriculum: a permutation, by gap; and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pareto.core.procedures.curry import Curry, curriculum
from pareto.core.procedures.rounds import Rounds
from pareto.errors import DataError
from tests.core.procedures.tabular import llama_job

GAPS = st.lists(st.integers(0, 5), min_size=1, max_size=30)


@given(GAPS, st.integers(1, 5), st.booleans())
def test_stages_are_a_permutation_from_large_gaps_to_small(gaps, stages, by_prompt):
    gap = np.array(gaps, dtype=float)
    prompt = np.arange(len(gap)) % 3 if by_prompt else None
    parts = curriculum(gap, stages, prompt)
    assert len(parts) == stages
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(gap)))
    for own in [np.arange(len(gap))] if prompt is None else [np.flatnonzero(prompt == p) for p in range(3)]:
        stage = np.array([next(s for s, rows in enumerate(parts) if i in rows) for i in own])
        for i in range(len(own)):
            for j in range(len(own)):
                if gap[own[i]] > gap[own[j]]:
                    assert stage[i] <= stage[j]


def test_the_order_by_hand():
    gap = np.array([1.0, 4.0, 2.0, 4.0, 3.0])
    assert [rows.tolist() for rows in curriculum(gap, 2)] == [
        [1, 3, 4],
        [2, 0],
    ]  # equal gaps keep their order


def test_within_prompts_every_stage_sees_every_prompt():
    """Prompt 7 has gaps 9, 8, 1 and prompt 3 has 0.3, 0.2, 0.1: globally the first stage would hold prompt 7 alone."""
    gap = np.array([8.0, 0.2, 9.0, 0.1, 1.0, 0.3])
    prompt = np.array([7, 3, 7, 3, 7, 3])
    assert [set(rows.tolist()) for rows in curriculum(gap, 3, prompt)] == [{5, 2}, {1, 0}, {3, 4}]


def test_ranked_responses_give_the_papers_stages():
    """Four replies ranked by score 4 > 3 > 2 > 1: (R1, R4), then (R1, R3), then (R1, R2)."""
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [8.0, 7.0, 6.5, 6.0]])
    gap = (scores[:, :1] - scores[:, 1:]).ravel()  # R1 against R2, R3, R4, prompt by prompt
    stages = curriculum(gap, 3, np.repeat([0, 1], 3))
    assert [sorted(rows.tolist()) for rows in stages] == [[2, 5], [1, 4], [0, 3]]


def test_each_stage_trains_on_its_own_pairs(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Rounds, "train", lambda self, number, part, *_: seen.append(part[0].gap.tolist()))
    Curry().run(llama_job(tmp_path))
    assert seen == [[6, 5, 4.5, 4], [3.5, 3, 2.5, 2], [1.5, 1, 0.5, 0.1]]


@pytest.mark.parametrize(
    ("gap", "message"), [(None, "got none"), (np.full(12, 2.0), "got the gap 2.0 12 times")]
)
def test_gaps_that_order_nothing_are_refused(gap, message, tmp_path):
    job = llama_job(tmp_path)
    with pytest.raises(DataError, match=message):
        Curry().run(replace(job, data=replace(job.data, gap=gap)))


def test_more_stages_than_pairs_are_refused(tmp_path):
    with pytest.raises(DataError, match="stage 12 of 13 has none of 12"):
        Curry(stages=13).run(llama_job(tmp_path))
