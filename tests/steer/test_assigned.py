"""The policy that is worth most, against utilities worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.errors import UsageError
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.steer.assigned import assigned_record
from pareto.steer.auto import choose


def archive(points, selection=None):
    """A run of policies without weights."""
    names = Objectives(["treasure", "time"])
    records = tuple(
        PolicyRecord(
            f"p{i}",
            "agent",
            names.named(point),
            facts={} if selection is None else {"selection": {"values": names.named(selection[i])}},
        )
        for i, point in enumerate(points)
    )
    return PolicySet(None, records, names)  # type: ignore[arg-type]  # nothing is read from disk


DENT = [[0.0, 0.0], [3.0, -7.0], [10.0, -10.0]]
"""Sums 0, -4, 0: no linear weight wants the middle; its shortfalls are .7 and .7 of the ranges, the ends' are 1."""


def test_linear_utility_takes_ends_and_chebyshev_the_dent():
    run = archive(DENT)
    assert [assigned_record(run, np.array([w, 1 - w])).id for w in (0.2, 0.49, 0.51, 0.9)] == [
        "p0",
        "p0",
        "p2",
        "p2",
    ]
    assert assigned_record(run, np.array([0.5, 0.5]), "chebyshev").id == "p1"
    assert assigned_record(run, np.array([0.9, 0.1]), "chebyshev").id == "p2"


def test_choices_rest_on_the_selection_split():
    run = archive(DENT, selection=[[0.0, 0.0], [30.0, -7.0], [10.0, -10.0]])
    assert assigned_record(run, np.array([0.9, 0.1])).id == "p1"


def test_it_is_what_auto_takes_where_no_policy_has_weights():
    assert choose(archive(DENT), np.array([0.5, 0.5])).method == "assigned"


def test_an_unknown_utility_is_named():
    with pytest.raises(UsageError, match="utility must be linear or chebyshev; got 'cubic'"):
        assigned_record(archive(DENT), np.array([0.5, 0.5]), "cubic")
