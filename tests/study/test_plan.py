"""A plan holds every cell once, each after what it needs."""

from __future__ import annotations

from typing import Any

import pytest

from pareto.cells import Cell
from pareto.errors import ConfigError
from pareto.study.plan import plan_study, plan_table, weights_text


def test_topological_and_without_doubles(study: Any) -> None:
    plan = plan_study(study("weights.n=6", "seeds=[3, 1]"))
    ids = [cell.id for cell, _ in plan.cells]
    assert (
        len(set(ids)) == len(ids) == 1 + 2 * 6
    )  # the reference is shared, the margin is the corner's own cell
    seen: set[str] = set()
    for cell, needs in plan.cells:
        assert set(needs) <= seen
        assert set(cell.needs.values()) <= set(needs)
        seen.add(cell.id)
    assert [cell.seed for cell, _ in plan.cells if cell.role == "policy"] == [3] * 6 + [1] * 6


def test_a_cell_wanted_twice_is_wanted_as_a_policy(study: Any) -> None:
    corner = next(cell for cell, _ in plan_study(study()).cells if cell.weights == {"gain": 1.0, "cost": 0.0})
    assert corner.role == "policy"
    made = study("weights.kind=list", "weights.n=null", "weights.list=[{gain: 0.5, cost: 0.5}]")
    roles = [cell.role for cell, _ in plan_study(made).cells]
    assert roles == ["prerequisite", "prerequisite", "policy"]


def test_more_weights_keep_the_cells_there_were(study: Any) -> None:
    few = {cell.id for cell, _ in plan_study(study("weights.n=5", "weights.kind=random")).cells}
    many = {cell.id for cell, _ in plan_study(study("weights.n=8", "weights.kind=random")).cells}
    assert few < many


def test_scoring_waits_for_what_the_task_makes(
    study: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that needs nothing itself is still scored by a task that needs its reference."""
    alone = Cell("policy", "method", {"alone": True})
    monkeypatch.setattr(fakes.FakeMethod, "plan", lambda self, task, weights, seeds: [alone])
    (reference, none), (cell, needs) = plan_study(study()).cells
    assert (none, cell, needs) == ((), alone, (reference.id,))


def test_a_plan_with_a_hole_is_refused(study: Any, fakes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Cell("policy", "method", {}, {"margin": "0123456789ab"})
    monkeypatch.setattr(fakes.FakeMethod, "plan", lambda self, task, weights, seeds: [lost])
    with pytest.raises(ConfigError, match=r"'fake_method' planned the cell .* \(0123456789ab\)"):
        plan_study(study())


@pytest.mark.parametrize("kind", ["cellz", "../cells", "a.b"])
def test_unknown_kind_of_weights(study: Any, kind: str) -> None:
    with pytest.raises(ValueError, match="cells"):
        plan_study(study(f"weights.kind={kind}"))


def test_table(study: Any) -> None:
    table = plan_table(plan_study(study("weights.n=2")))
    assert [row["made by"] for row in table] == ["task: reference", "method", "method"]
    assert table[1]["weights"] == "gain=1,cost=0"
    assert weights_text(None) == "-"
