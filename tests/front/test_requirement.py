"""Stated requirements: their grammar, and which side an error counts on."""

import pytest

from pareto.errors import RequirementError, UsageError
from pareto.front import Requirement, check_requirements


@pytest.mark.parametrize(
    ("text", "figure", "met"),
    [
        ("hypervolume>=3", 3.0, True),
        ("hypervolume>3", 3.0, False),
        (" hypervolume <= 3.5 ", 3.0, True),
        ("hypervolume<3e0", 3.0, False),
        ("hypervolume>=-1", -0.5, True),
    ],
)
def test_relations(text, figure, met):
    assert Requirement.parse(text).holds(figure) is met


@pytest.mark.parametrize("text", ["hypervolume", "hypervolume=3", "hypervolume>=x", "hypervolume>=nan", ">=3", "a b>=1", "hypervolume>=inf"])  # fmt: skip
def test_other_forms_are_refused(text):
    with pytest.raises(UsageError):
        Requirement.parse(text)


def test_errors_count_against_the_figure():
    at_least, at_most = Requirement.parse("igd>=1"), Requirement.parse("igd<=1")
    assert at_least.holds(1.05)
    assert at_most.holds(0.95)
    assert not at_least.holds(1.05, error=0.1)
    assert not at_most.holds(0.95, error=0.1)
    with pytest.raises(RequirementError, match=r"igd>=1 is required; igd is 1.05 \+- 0.1"):
        check_requirements({"igd": 1.05, "igd_error": 0.1}, [at_least])
    check_requirements({"igd": 1.05}, [at_least])


def test_figures_that_are_not_there():
    with pytest.raises(UsageError, match="did you mean 'hypervolume'"):
        check_requirements({"hypervolume": 1.0}, [Requirement.parse("hypervolum>=1")])


def test_a_figure_that_is_not_known_keeps_no_bound():
    with pytest.raises(RequirementError, match="hypervolume>=0 is required; hypervolume is not known"):
        check_requirements({"hypervolume": None}, [Requirement.parse("hypervolume>=0")])
