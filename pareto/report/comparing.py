"""The sections that put several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from pareto.report import comparison_figures, wording
from pareto.report.equal_terms import equal_terms, seed_tests
from pareto.report.markup import Markup, join, tag
from pareto.report.measuring import objectives_of
from pareto.report.parts import Column, large, note, panel, run_key, section, table
from pareto.report.tree import Comparison, Report, RunReport


def comparison_sections(report: Report, level: int) -> list[tuple[str, str, Markup]]:
    """All that puts runs side by side: (key, short title, markup); empty where there is nothing to compare."""
    if report.comparison is None:
        return []
    made = [
        ("comparison", "Comparison", "Side by side", _table(report.runs, report.comparison)),
        (
            "equal",
            "Equal terms",
            "At equal cost and at equal KL",
            equal_terms(report.runs, report.comparison),
        ),
        ("seed-tests", "Seed by seed", "Seed by seed", seed_tests(report.runs, report.comparison)),
        ("fronts", "All fronts", "All fronts", _fronts(report.runs, report.comparison)),
        (
            "attainment",
            "Attainment",
            "Who attains what more often",
            _attainment(report.runs, report.comparison),
        ),
        ("hv-cost", "Cost", "Hypervolume against cost", _cost(report.runs, report.comparison)),
    ]
    return [
        (name, short, section(name, level, title, content)) for name, short, title, content in made if content
    ]


def _table(runs: Sequence[RunReport], comparison: Comparison) -> Markup:
    rows = comparison.contenders
    values = wording.column([c.hypervolume for c in rows])
    columns = [
        Column("Run", [tag("a", runs[c.run].name, href=f"#run-{c.run}") for c in rows], number=False),
        Column("Method", [runs[c.run].method or wording.UNKNOWN for c in rows], number=False),
        Column("Hypervolume", [values(c.hypervolume) for c in rows]),
        Column(
            "95 % interval",
            [
                wording.UNKNOWN
                if c.hypervolume_ci95 is None
                else wording.with_interval(c.hypervolume, c.hypervolume_ci95)[1]
                for c in rows
            ],
        ),
        Column(
            "Minus the first run's",
            [
                wording.UNKNOWN
                if c.difference is None or c.difference_ci95 is None
                else _signed(c.difference, c.difference_ci95)
                for c in rows
            ],
        ),
        Column("Policies", [str(c.policies) for c in rows]),
        Column("Seeds", [str(c.seeds) for c in rows]),
        Column("Mean KL, nats", _written([c.kl_mean_nats for c in rows])),
        Column("Largest KL, nats", _written([c.kl_max_nats for c in rows])),
        Column(wording.named(wording.COSTS, comparison.cost_unit), _written([c.cost for c in rows])),
    ]
    kept = [c for c in columns if any(cell != wording.UNKNOWN for cell in c.cells)]
    names = [o.name for o in runs[0].objectives]
    reference = ", ".join(f"{name} {wording.number(v)}" for name, v in zip(names, comparison.ref_point))
    paired = any(c.difference is not None for c in rows)
    return join(
        [
            table("The runs against one reference point", kept),
            note(
                f"All against the reference point ({reference}).",
                " Differences come with their 95 % interval, the same held-out units resampled for both runs."
                if paired
                else None,
            ),
            [tag("p", text, class_="flag") for text in comparison.notes],
        ]
    )


def _signed(x: float, interval: Sequence[float]) -> str:
    shown, span = wording.with_interval(x, interval)
    return f"{'+' if x > 0 else ''}{shown} ({span})"


def _written(values: Sequence[float | None]) -> list[str]:
    written = wording.column(values)
    return [written(v) for v in values]


def _fronts(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    objectives = objectives_of(runs[0])
    m = len(objectives)
    if m < 2:
        return None
    legend = [run_key(r, run.name) for r, run in enumerate(runs)]
    label = f"The fronts of {wording.count(len(runs), 'run')}: {', '.join(objectives.names)}"
    if m == 2:
        return large(
            lambda w, h: comparison_figures.fronts(runs, comparison, objectives, w, h), label, legend
        )
    panels = [
        panel(
            comparison_figures.pair(runs, objectives, i, j),
            f"{objectives[j].name} against {objectives[i].name}, all runs",
            css=f"at c{i} r{j - 1}",
        )
        for j in range(1, m)
        for i in range(j)
    ]
    return tag(
        "figure",
        tag(
            "div",
            panels,
            class_=f"matrix m{min(m, 7)}",
            tabindex=0 if m > 4 else None,
            role="group",
            aria_label=label,
        ),
        tag("figcaption", legend),
    )


def _attainment(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    if not comparison.attainment:
        return None
    objectives = objectives_of(runs[0])
    panels = [
        panel(
            comparison_figures.attainment(runs, comparison, found, objectives),
            f"Where {runs[0].name} or {runs[found.run].name} attains more often",
            run_key(0, runs[0].name),
            run_key(found.run, runs[found.run].name),
        )
        for found in comparison.attainment
    ]
    return join(
        [
            tag("div", panels, class_="panels wide"),
            note(
                "The fuller the colour, the larger the difference between the shares of seeds that reach at least so much "
                "of both objectives; blank where both do, or neither does."
            ),
        ]
    )


def _cost(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    if comparison.cost_unit is None:
        return None
    drawn = large(
        lambda w, h: comparison_figures.cost(runs, comparison, w, h),
        f"Hypervolume against {wording.named(wording.COSTS, comparison.cost_unit).lower()}",
        [run_key(c.run, runs[c.run].name) for c in comparison.contenders],
        sizes=((880, 340), (344, 280)),
    )
    curves = any(c.growth is not None for c in comparison.contenders)
    words = "Each curve follows a run's jobs in the order in which they were planned, the mean over its seeds"
    bands = any(c.growth is not None and c.growth.steps[0].ci95 for c in comparison.contenders)
    return join(
        [drawn, note(f"{words}{', with the 95 % interval over units' if bands else ''}.") if curves else None]
    )
