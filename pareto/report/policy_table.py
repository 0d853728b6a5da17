"""The table of one run's policies."""

from __future__ import annotations

from typing import Any

from pareto.objectives import Objectives
from pareto.report import wording
from pareto.report.markup import Markup, join, tag
from pareto.report.parts import Column, note, table
from pareto.report.tree import PolicyRow, RunReport


def policy_table(r: int, run: RunReport, objectives: Objectives) -> Markup | None:
    """One row a policy: weights, values with intervals, and every figure known of it; columns nobody fills are left out."""
    if not run.policies:
        return None
    rows = run.policies
    columns = [Column("#", [p.label for p in rows], key="label")]
    columns += _weights(rows, objectives)
    columns += _values(rows, objectives)
    columns += _selection(rows, objectives)
    columns += [
        _column("HV contribution", "contribution", [p.contribution for p in rows]),
        _column("Knee", "knee", [p.knee for p in rows]),
        _column("KL, nats", "kl_nats", [p.kl_nats for p in rows]),
        _column("KL to exact, nats", "kl_to_exact_nats", [p.kl_to_exact_nats for p in rows]),
        _column("Optimality", "optimality", [p.optimality for p in rows]),
        _column("held out", "optimality_heldout", [p.optimality_heldout for p in rows]),
        _column(_cost_title(rows), "cost", [p.cost for p in rows]),
    ]
    columns += [
        _column(title, f"text.{name}", [(p.text or {}).get(name) for p in rows], group="Replies")
        for name, title in (
            ("length_tokens", "length, tokens"),
            ("entropy_nats", "entropy, nats"),
            ("distinct_2", "distinct-2"),
        )
    ]
    if len({p.seed for p in rows}) > 1:
        columns.append(_column("Seed", "seed", [p.seed for p in rows]))
    columns += [
        Column("Kind", [p.kind or wording.UNKNOWN for p in rows], key="kind", number=False),
        Column("Id", [tag("code", p.id) for p in rows], key="id", number=False),
    ]
    kept = [c for c in columns if any(cell != wording.UNKNOWN for cell in c.cells)]
    shown = table(
        "All policies; choose a header to sort",
        kept,
        [f"{r}-{i}" for i in range(len(rows))],
        css="policies",
        row_css=[None if p.non_dominated else "dominated" for p in rows],
    )
    return join(
        [
            shown,
            note(
                "Dominated policies are grey. " if any(not p.non_dominated for p in rows) else None,
                "Choose a header to sort; move along the rows with the arrow keys. Knee: how "
                "far a policy stands beyond the straight line between the ends of the front, each objective scaled to "
                "its range.",
            ),
            _trade_offs(run, objectives),
            _steps(run, objectives),
        ]
    )


def _trade_offs(run: RunReport, objectives: Objectives) -> Markup | None:
    """For two objectives: what a step along the front costs, folded away."""
    if not run.trade_offs:
        return None
    first, second = objectives.names
    shown = table(
        "Trade-off rates between neighbours",
        [
            Column("Step", [f"#{t.a} to #{t.b}" for t in run.trade_offs], number=False),
            Column(f"{second} per {first}", [wording.number(t.rate) for t in run.trade_offs]),
        ],
        css="small",
    )
    return tag("details", tag("summary", f"What one unit of {first} costs in {second}, step by step"), shown)


def _steps(run: RunReport, objectives: Objectives) -> Markup | None:
    """For more objectives: the steps between neighbours that give more than they take, folded away."""
    if not run.steps:
        return None
    columns = [Column("Step", [f"#{s.a} to #{s.b}" for s in run.steps], number=False)]
    for k, name in enumerate(objectives.names):
        written = wording.column([s.changes[k] for s in run.steps])
        cells = [f"{'+' if s.changes[k] > 0 else ''}{written(s.changes[k])}" for s in run.steps]
        columns.append(Column(name, cells, group="Change"))
    columns.append(Column("Lost per gained", [wording.fixed(s.price, 2) for s in run.steps]))
    shown = join(
        [
            table("What changes between neighbours on the front", columns, css="small"),
            note(
                "Lost per gained: every objective in shares of the front's range; the cheapest steps first."
            ),
        ]
    )
    return tag("details", tag("summary", "What a step to a neighbour on the front costs"), shown)


def _cost_title(rows: list[PolicyRow]) -> str:
    units = {p.cost_unit for p in rows if p.cost_unit is not None}
    return wording.named(wording.COSTS, units.pop()) if len(units) == 1 else "Cost"


def _column(title: str, key_: str, values: list[Any], group: str = "") -> Column:
    written = wording.column(values)
    return Column(title, [written(v) for v in values], group=group, key=key_)


def _weights(rows: list[PolicyRow], objectives: Objectives) -> list[Column]:
    return [
        Column(
            name,
            [wording.UNKNOWN if p.weights is None else wording.fixed(p.weights[k], 3) for p in rows],
            group="Requested weight",
            key=f"weights.{k}",
        )
        for k, name in enumerate(objectives.names)
    ]


def _values(rows: list[PolicyRow], objectives: Objectives) -> list[Column]:
    columns = []
    for k, name in enumerate(objectives.names):
        written = wording.column([p.values[k] for p in rows])
        cells = []
        for p in rows:
            interval = p.ci95[k]
            half = (
                None
                if interval is None
                else tag("small", f"\u00b1{written((interval[1] - interval[0]) / 2)}")
            )
            cells.append(join([written(p.values[k]), half and join([" ", half])]))
        columns.append(Column(name, cells, group=_values_title(rows), key=f"values.{k}"))
    return columns


def _values_title(rows: list[PolicyRow]) -> str:
    splits = {p.split for p in rows if p.split is not None}
    where = wording.named(wording.SPLITS, splits.pop()).capitalize() if len(splits) == 1 else "Measured"
    bars = any(interval for p in rows for interval in p.ci95)
    return f"{where} value{' ± 95 %' if bars else ''}"


def _selection(rows: list[PolicyRow], objectives: Objectives) -> list[Column]:
    return [
        _column(
            name,
            f"selection.{k}",
            [None if p.selection is None else p.selection[k] for p in rows],
            group="Selection value",
        )
        for k, name in enumerate(objectives.names)
    ]
