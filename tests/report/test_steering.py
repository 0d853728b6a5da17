import numpy as np
import pytest
from scipy.stats import kendalltau

from pareto.objectives import Objective, Objectives
from pareto.report.steering import concordance, kendall_tau, largest_reversal, steering
from pareto.report.tree import PolicyRow
from pareto.rng import generator


def row(label: str, weights: list[float] | None, values: list[float]) -> PolicyRow:
    return PolicyRow(label, f"p{label}", 0, "adapter", weights, "simplex", values, [None] * len(values), None, None, None, None, True, None, None, None, None, None, None, None, None)  # fmt: skip


@pytest.mark.parametrize("case", range(20))
def test_tau_is_scipys_also_with_ties(case: int) -> None:
    rng = generator("tau", case)
    x, y = rng.integers(0, 5, 12).astype(float), rng.integers(0, 6, 12).astype(float)
    assert kendall_tau(x, y) == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)


def test_tau_is_unknown_where_nothing_varies() -> None:
    assert kendall_tau(np.ones(4), np.arange(4.0)) is None
    assert kendall_tau(np.array([1.0]), np.array([2.0])) is None


def test_concordance_and_reversal_by_hand() -> None:
    weights, values = np.array([0.0, 0.5, 0.5, 1.0]), np.array([1.0, 3.0, 2.0, 2.5])
    # pairs with different weights: (0,.5) twice up, (0,1) up, (.5,1): 3 -> 2.5 down, 2 -> 2.5 up
    assert concordance(weights, values) == pytest.approx(4 / 5)
    assert largest_reversal(weights, values) == pytest.approx(0.5)
    assert largest_reversal(np.arange(3.0), np.arange(3.0)) == 0.0
    assert concordance(np.ones(3), np.arange(3.0)) is None
    assert concordance(np.array([0.0, 1.0]), np.array([2.0, 2.0])) == 1.0  # as much is no reversal


def test_less_of_a_minimised_objective_is_more_delivered() -> None:
    objectives = Objectives([Objective("good"), Objective("tokens", "min")])
    rows = [row(str(i), [1 - w, w], [1 - w, 10 - 5 * w]) for i, w in enumerate((0.0, 0.5, 1.0))]
    assert [s.tau for s in steering(objectives, rows)] == [1.0, 1.0]


def test_policies_without_weights_are_left_out() -> None:
    objectives = Objectives(["a", "b"])
    rows = [row("1", [1.0, 0.0], [2.0, 0.0]), row("2", None, [9.0, 9.0]), row("3", [0.0, 1.0], [0.0, 2.0])]
    assert [s.policies for s in steering(objectives, rows)] == [2, 2]
    assert steering(objectives, [rows[1]]) == []


def test_a_third_written_in_two_ways_is_one_weight() -> None:
    objectives = Objectives(["a", "b"])
    rows = [row("1", [1 / 3, 2 / 3], [5.0, 0.0]), row("2", [1 / 3 + 1e-16, 2 / 3], [4.0, 0.0])]
    rows[1].weights[0] = float(np.nextafter(1 / 3, 1))  # type: ignore[index]
    assert steering(objectives, rows)[0].concordant is None
