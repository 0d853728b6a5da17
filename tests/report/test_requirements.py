from collections.abc import Callable

import pytest

from pareto.errors import RequirementError, UsageError
from pareto.front import Requirement
from pareto.report import Report
from pareto.report.requirements import check

parse = Requirement.parse


def test_met_and_not_met(report: Callable[..., Report]) -> None:
    made = report("ordinary")
    figure = made.runs[0].indicators["hypervolume"]
    check(made, [parse("hypervolume>=1"), parse("optimality_heldout>0.8"), parse("outside_ref_point<=0")])
    check(made, [Requirement("hypervolume", ">=", figure)])
    with pytest.raises(RequirementError, match=rf"hypervolume>=9 is required; hypervolume is {figure:.10g}"):
        check(made, [parse("hypervolume>=9")])
    with pytest.raises(RequirementError):
        check(made, [Requirement("hypervolume", ">", figure)])


def test_the_runs_own_hypervolume_not_the_exact_fronts(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]
    assert run.exact is not None
    exact = run.exact.figures["hypervolume"]
    assert exact is not None
    assert exact > run.indicators["hypervolume"]
    with pytest.raises(RequirementError):
        check(report("ordinary"), [Requirement("hypervolume", ">=", exact)])


def test_what_is_not_known_is_not_met(report: Callable[..., Report]) -> None:
    with pytest.raises(RequirementError, match="hypervolume_selection is not known"):
        check(report("imported", sparse=True, exact=False), [parse("hypervolume_selection>=0")])


def test_an_unknown_name_gets_the_nearest(report: Callable[..., Report]) -> None:
    with pytest.raises(UsageError, match="did you mean 'hypervolume'"):
        check(report("ordinary"), [parse("hypervolme>=1")])
