"""Statistics against counting by hand and against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pareto.data.preferences import Preferences
from pareto.data.report import count_cycles, describe
from pareto.objectives import Objectives

nan = np.nan


def table(labels, texts=("aa", "b", "cc", "d")):
    """Two prompts with two responses each; pair i is (0, 1) for even i, (2, 3) for odd i."""
    labels = np.array(labels, np.float32)
    n = len(labels)
    first = np.array([0, 2] * n)[:n]
    return Preferences(
        Objectives(["h", "b"]), ["P  x", "p X"], list(texts), np.array([0, 0, 1, 1]), first, first + 1, labels
    )


def test_counts_by_hand():
    report = describe(table([[1, -1], [1, 1], [-1, nan], [0, 1], [nan, nan]]))
    h, b = report.objectives
    assert (h.decided, h.ties, h.missing) == (3, 1, 1)
    assert (b.decided, b.ties, b.missing) == (3, 0, 2)
    # the first response of every pair is the longer one: it wins 2 of 3 under h and 2 of 3 under b
    assert h.longer_wins == pytest.approx(2 / 3)
    assert b.longer_wins == pytest.approx(2 / 3)
    (conflict,) = report.conflicts
    assert (conflict.both_decided, conflict.disagree) == (2, 0.5)
    assert conflict.correlation == pytest.approx(np.corrcoef([1, 1, 0], [-1, 1, 1])[0, 1])
    assert (report.prompts, report.responses, report.pairs, report.near_equal_prompts) == (2, 4, 5, 1)
    assert report.characters["response"] == (2, 2, 2)


def test_nothing_decided_gives_no_shares():
    report = describe(table([[0, nan], [0, nan]]))
    assert report.objectives[0].longer_wins is None
    assert (report.conflicts[0].disagree, report.conflicts[0].correlation) == (None, None)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 4), st.integers(0, 4), st.sampled_from([1.0, -1.0, 0.0, nan])
        ),
        max_size=25,
    )
)
def test_cycles_as_brute_force_counts_them(rows):
    rows = [(p, 10 * p + a, 10 * p + b, v) for p, a, b, v in rows if a != b]
    net = {}
    for _, a, b, v in rows:
        if v == v:
            net[a, b] = net.get((a, b), 0) + v
            net[b, a] = net.get((b, a), 0) - v
    cycles = triples = 0
    for i, j, k in itertools.combinations(range(20), 3):
        wins = [net.get(e, 0) for e in ((i, j), (j, k), (k, i))]
        triples += all(wins)
        cycles += all(w > 0 for w in wins) or all(w < 0 for w in wins)
    columns = [np.array([r[c] for r in rows], float if c == 3 else np.int64) for c in range(4)]
    assert count_cycles(*columns) == (cycles, triples)
