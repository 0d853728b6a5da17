"""Whether the runs of a report meet stated requirements, such as 'hypervolume>=3.0'."""

from __future__ import annotations

from collections.abc import Sequence

from pareto.errors import RequirementError, UsageError, did_you_mean
from pareto.front import Requirement
from pareto.report.tree import Report, RunReport


def check(report: Report, requirements: Sequence[Requirement]) -> None:
    """Hold every run of a report to every requirement.

    Names are those of `indicators` in front.json and, on tasks with exact optima, those of its `exact` block.

    Raises:
        UsageError: an indicator that no run of the report knows.
        RequirementError: not met, or not known for a run; says which figure stands against which bound.
    """
    figures = [_figures(run) for run in report.runs]
    known = sorted({name for one in figures for name in one})
    for requirement in requirements:
        if requirement.name not in known:
            near = did_you_mean(requirement.name, known)
            raise UsageError(f"no indicator {requirement.name!r} to require{near}; known: {', '.join(known)}")
    broken = [
        f"{run.name}: {message}"
        for run, own in zip(report.runs, figures)
        for requirement in requirements
        if (message := requirement.broken(own))
    ]
    if broken:
        raise RequirementError("; ".join(broken))


def _figures(run: RunReport) -> dict[str, float | None]:
    """Every figure that may be required; the run's own indicators go before those of the exact front."""
    exact = run.exact.figures if run.exact is not None else {}
    own = {k: v for k, v in run.indicators.items() if v is None or isinstance(v, int | float)}
    return {"hypervolume": None} | exact | own
