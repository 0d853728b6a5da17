"""Stated requirements, such as 'hypervolume>=3.0', and whether a run meets them."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass

from pareto.errors import RequirementError, UsageError, did_you_mean
from pareto.report.tree import Report, RunReport

_FORM = re.compile(r"^\s*([A-Za-z_]\w*)\s*(>=|<=|>|<)\s*(\S+)\s*$")
_HOLDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Requirement:
    """One indicator and the bound it must keep."""

    indicator: str
    relation: str
    bound: float

    def __str__(self) -> str:
        return f"{self.indicator}{self.relation}{self.bound:g}"


def parse(text: str) -> Requirement:
    """Read "hypervolume>=3.0"; the relation is one of >= <= > <.

    Raises:
        UsageError: another form, or a bound that is not a finite number.
    """
    found = _FORM.match(text)
    if found is None:
        raise UsageError(f"a requirement looks like 'hypervolume>=3.0' (>=, <=, > or <); got {text!r}")
    name, relation, bound = found.groups()
    try:
        number = float(bound)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the bound of a requirement must be a finite number; got {bound!r} in {text!r}")
    return Requirement(name, relation, number)


def check(report: Report, requirements: list[Requirement]) -> None:
    """Hold every run of a report to every requirement.

    Names are those of `indicators` in front.json and, on tasks with exact optima, those of its `exact` block.

    Raises:
        UsageError: an indicator that no run of the report knows.
        RequirementError: not met, or not known for a run; says which figure stands against which bound.
    """
    broken = [message for run in report.runs for r in requirements if (message := _broken(run, r, report))]
    if broken:
        raise RequirementError("; ".join(broken))


def _broken(run: RunReport, requirement: Requirement, report: Report) -> str:
    known = {name for other in report.runs for name in _figures(other)}
    name = requirement.indicator
    if name not in known:
        near = did_you_mean(name, known)
        raise UsageError(
            f"no indicator {name!r} to require{near}; known: {', '.join(sorted(known)) or 'none'}"
        )
    figure = _figures(run).get(name)
    if figure is None:
        return f"{run.name}: {requirement} is required; {name} is not known"
    if _HOLDS[requirement.relation](figure, requirement.bound):
        return ""
    return f"{run.name}: {requirement} is required; {name} is {figure:.6g}"


def _figures(run: RunReport) -> dict[str, float | None]:
    """Every figure that may be required; the run's own indicators go before those of the exact front."""
    exact = run.exact.figures if run.exact is not None else {}
    known = {name: None for name in ("hypervolume",)} | exact
    own = {k: v for k, v in run.indicators.items() if v is None or isinstance(v, int | float)}
    return known | own
