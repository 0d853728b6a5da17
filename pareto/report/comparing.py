"""The sections that put several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from pareto.report import comparison_figures, wording
from pareto.report.markup import Markup, join, tag
from pareto.report.measuring import objectives_of
from pareto.report.parts import Column, large, note, panel, run_key, section, table
from pareto.report.tree import Comparison, Report, RunReport


def comparison_sections(report: Report, level: int) -> list[tuple[str, str, Markup]]:
    """Comparison table, all fronts, cost: (key, short title, markup); empty where there is nothing to compare."""
    if report.comparison is None:
        return []
    made = [
        ("comparison", "Comparison", "Side by side", _table(report.runs, report.comparison)),
        ("fronts", "All fronts", "All fronts", _fronts(report.runs, report.comparison)),
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
        Column("Ratio at equal KL", [wording.fixed(c.equal_kl_ratio, 3) for c in rows]),
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
            note(
                "Ratio at equal KL: hypervolume over the first run's when both are held to the same limit on KL to the "
                "reference, averaged over all limits that both reach. A run that leads only without it leads by drifting."
            )
            if any(c.equal_kl_ratio is not None for c in rows)
            else None,
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


def _cost(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    if comparison.cost_unit is None:
        return None
    return large(
        lambda w, h: comparison_figures.cost(runs, comparison, w, h),
        f"Hypervolume against {wording.named(wording.COSTS, comparison.cost_unit).lower()}",
        [run_key(c.run, runs[c.run].name) for c in comparison.contenders],
        sizes=((880, 340), (344, 280)),
    )
