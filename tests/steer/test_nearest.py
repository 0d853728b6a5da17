"""The nearest measured policy, against a brute-force search by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.errors import UsageError
from pareto.policy_set import load
from pareto.rng import generator
from pareto.steer.nearest import nearest_record


@pytest.fixture
def run(write_run, fake_kind):
    return load(write_run())


@pytest.mark.parametrize("method", ["nearest", "auto"])
def test_the_nearest_requested_weights_win_and_ties_go_by_order(run, method):
    expected = {0.0: "d", 0.2: "d", 0.3: "b", 0.5: "b", 0.7: "b", 0.8: "a", 1.0: "a"}
    assert {w: run.steer([w, 1 - w], method=method)[1] for w in expected} == expected
    assert run.steer([0.75, 0.25], method=method) == ("run", "a")  # as far from b: the first stands


def test_it_agrees_with_a_plain_search(run):
    for w in generator("test", "nearest").uniform(size=100):
        distances = {r.id: (r.weights["helpful"] - w) ** 2 for r in run if r.weights is not None}
        assert nearest_record(run, np.array([w, 1 - w])).id == min(distances, key=lambda i: distances[i])


def test_a_run_without_weights_says_what_to_ask_instead(write_run):
    def strip(front):
        for row in front["policies"]:
            row["weights"] = None

    with pytest.raises(UsageError, match=r"no policy of .* was made for weights; ask by values: at='helpful"):
        load(write_run(strip)).steer([0.5, 0.5], method="nearest")


def test_options_are_refused(run):
    with pytest.raises(UsageError, match="takes no option 'scale'"):
        run.steer([0.5, 0.5], method="nearest", scale=2)
