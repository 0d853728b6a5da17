"""The tables that hold several runs to equal terms: cost, KL to the reference, seeds."""

from __future__ import annotations

from collections.abc import Sequence

from pareto.report import wording
from pareto.report.markup import Markup, join, tag
from pareto.report.parts import Column, note, table
from pareto.report.tree import Comparison, Held, Interval, RunReport


def equal_terms(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    """What every run reaches for the cheapest run's cost, and within the largest KL that all of them reach."""
    rows = comparison.contenders
    columns = [Column("Run", [_link(runs, c.run) for c in rows], number=False)]
    columns += _held("At equal cost", [c.at_equal_cost for c in rows])
    columns += _held("At equal KL", [c.at_equal_kl for c in rows])
    columns.append(
        Column(
            "Ratio at equal KL",
            [
                wording.UNKNOWN
                if c.equal_kl_ratio is None
                else _with(c.equal_kl_ratio, c.equal_kl_ratio_ci95)
                for c in rows
            ],
        )
    )
    kept = [c for c in columns if any(cell != wording.UNKNOWN for cell in c.cells)]
    if len(kept) == 1:
        return None
    return join([table("The runs at equal cost and at equal KL", kept), _terms(comparison)])


def seed_tests(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    """Hypervolume seed by seed: interquartile means, and every two runs that share seeds."""
    several = [c for c in comparison.contenders if c.interquartile_mean is not None]
    if not several:
        return None
    means = table(
        "Hypervolume over seeds",
        [
            Column("Run", [_link(runs, c.run) for c in several], number=False),
            Column("Seeds", [str(c.seeds) for c in several]),
            Column(
                "Interquartile mean",
                [_with(c.interquartile_mean, c.interquartile_mean_ci95) for c in several],
            ),
            Column("Lowest", [wording.number(min(c.by_seed)) for c in several]),
            Column("Highest", [wording.number(max(c.by_seed)) for c in several]),
        ],
    )
    return join([means, _pairings(runs, comparison)])


def _pairings(runs: Sequence[RunReport], comparison: Comparison) -> Markup | None:
    pairs = comparison.pairings
    if not pairs:
        return None
    shown = table(
        "Every two runs, seed by seed",
        [
            Column(
                "Runs", [f"{runs[p.first].name} \u2212 {runs[p.second].name}" for p in pairs], number=False
            ),
            Column("Seeds", [str(p.seeds) for p in pairs]),
            Column("Mean difference", [_with(p.difference, p.difference_ci95) for p in pairs]),
            Column("p, Wilcoxon", [wording.number(p.p, 2) for p in pairs]),
            Column("p, Holm", [wording.number(p.p_holm, 2) for p in pairs]),
            Column("Probability of improvement", [_with(p.improvement, p.improvement_ci95) for p in pairs]),
        ],
    )
    n = pairs[0].seeds
    return join(
        [
            shown,
            note(
                f"Paired by seed. With {n} seeds no such test can give p below {wording.number(2.0 ** (1 - n), 2)}, "
                "and intervals over few seeds are rough. Holm: corrected for all pairs asked about. Probability of "
                "improvement: the chance that a seed of the first run beats one of the second."
            ),
        ]
    )


def _terms(comparison: Comparison) -> Markup:
    cost = wording.named(wording.COSTS, comparison.cost_unit).lower()
    return join(
        [
            note(
                f"Equal cost: {wording.number(comparison.budget)} {cost}, all that the cheapest run spent; of the others, the "
                "first jobs that this pays for, in the order in which they were planned."
            )
            if comparison.budget is not None
            else None,
            note(
                f"Equal KL: policies within {wording.number(comparison.kl_limit_nats)} nats of the reference, the largest KL "
                "that every run reaches. The ratio is hypervolume over the first run's, averaged over all limits that both "
                "reach: a run that leads only without it leads by drifting."
            )
            if comparison.kl_limit_nats is not None
            else None,
            note("Intervals are 95 %, over held-out units.")
            if any(
                h is not None and h.ci95
                for c in comparison.contenders
                for h in (c.at_equal_cost, c.at_equal_kl)
            )
            else None,
        ]
    )


def _held(group: str, held: Sequence[Held | None]) -> list[Column]:
    return [
        Column(
            "hypervolume",
            [wording.UNKNOWN if h is None else _with(h.hypervolume, h.ci95) for h in held],
            group=group,
        ),
        Column("policies", [wording.UNKNOWN if h is None else str(h.policies) for h in held], group=group),
    ]


def _link(runs: Sequence[RunReport], r: int) -> Markup:
    return tag("a", runs[r].name, href=f"#run-{r}")


def _with(x: float | None, interval: Interval | None) -> str:
    """A figure and its interval in one cell."""
    if x is None:
        return wording.UNKNOWN
    shown, span = wording.with_interval(x, interval)
    return f"{shown} ({span})" if span else shown
