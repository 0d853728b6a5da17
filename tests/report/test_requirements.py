from collections.abc import Callable

import pytest

from pareto.errors import RequirementError, UsageError
from pareto.report import Report
from pareto.report.requirements import Requirement, check, parse


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("hypervolume>=3", Requirement("hypervolume", ">=", 3.0)),
        (" sparsity < 1e-2 ", Requirement("sparsity", "<", 0.01)),
        ("cardinality<=9", Requirement("cardinality", "<=", 9.0)),
        ("optimality > .9", Requirement("optimality", ">", 0.9)),
    ],
)
def test_forms(text: str, made: Requirement) -> None:
    assert parse(text) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hypervolume",
        "hypervolume=3",
        "hypervolume>=",
        "hypervolume>=nan",
        "a>=b",
        ">=3",
        "hypervolume>=inf",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="requirement"):
        parse(text)


def test_met_and_not_met(report: Callable[..., Report]) -> None:
    made = report("ordinary")
    figure = made.runs[0].indicators["hypervolume"]
    check(made, [parse("hypervolume>=1"), parse("optimality_heldout>0.8"), parse("outside_ref_point<=0")])
    check(made, [Requirement("hypervolume", ">=", figure)])
    with pytest.raises(RequirementError, match=rf"hypervolume>=9 is required; hypervolume is {figure:.6g}"):
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
