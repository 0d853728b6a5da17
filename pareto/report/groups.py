"""What every policy delivers to each group, where scores tell groups apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pareto.report import wording
from pareto.report.markup import Markup, join, tag
from pareto.report.parts import Column, note, table
from pareto.report.tree import RunReport

MOST = 40
"""Most columns: beyond, nobody reads them; report.json has them all."""


def groups_table(r: int, run: RunReport) -> Markup | None:
    """One row a policy, one column for every figure of every group; None where no policy has groups.

    A group is a mapping of figures ("helpful": 1.2), or one number that stands for the group.
    """
    flat = [_flat(policy.groups) for policy in run.policies]
    names = sorted({name for row in flat for name in row}, key=lambda name: (name[1], name[0]))
    if not names:
        return None
    columns = [Column("#", [tag("span", p.label) for p in run.policies])]
    for group, figure in names[:MOST]:
        values = [row.get((group, figure)) for row in flat]
        written = wording.column(values)
        columns.append(Column(group, [written(v) for v in values], group=figure or "Groups"))
    shown = table(
        "What every policy delivers to each group",
        columns,
        [f"{r}-{i}" for i in range(len(run.policies))],
        row_css=[None if p.non_dominated else "dominated" for p in run.policies],
    )
    left = len(names) - MOST
    return join([shown, note(f"{left} more columns are in report.json.") if left > 0 else None])


def _flat(groups: Mapping[str, Any] | None) -> dict[tuple[str, str], float]:
    """(group, figure) -> number; what is not a number is left out."""
    found = {}
    for group, figures in (groups or {}).items():
        pairs = figures.items() if isinstance(figures, Mapping) else [("", figures)]
        for figure, value in pairs:
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[str(group), str(figure)] = float(value)
    return found
