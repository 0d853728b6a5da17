"""Run folders in memory -> the report's tree. Everything that a report computes is computed below this function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pareto.errors import ArtifactError
from pareto.front import knee_scores, non_dominated, trade_off_rates
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.report.comparison import compare
from pareto.report.further import further_intervals
from pareto.report.growth import growth, job_of
from pareto.report.measuring import unit_scores
from pareto.report.reading import Run, finite
from pareto.report.rounds import round_rows
from pareto.report.samples import POLICIES, along_the_front, sample_rows
from pareto.report.seeds import across_seeds
from pareto.report.steering import steering
from pareto.report.tree import (
    Exact,
    Interval,
    ObjectiveInfo,
    PolicyRow,
    Report,
    RunReport,
    StepRow,
    TradeOffRow,
)
from pareto.report.verdict import verdict

STEPS = 40
"""Most steps along a front of three and more objectives that are listed."""

EXACT_POINTS = 400
"""Most points of the dense exact front kept for drawing: more than a figure can show."""


def build(runs: Sequence[Run]) -> Report:
    """Make the report of one or several runs.

    Args:
        runs: what `read_run` gave, in the order they shall appear; the first is what others are compared to.

    Returns:
        The report's tree; the same runs always give the same tree.

    Raises:
        ArtifactError: no run, or a front.json that does not hang together.
    """
    if not runs:
        raise ArtifactError("a report needs at least one run folder; got none")
    names = _distinct([run.name for run in runs])
    sections = [_checked(_run_report(run, name), run) for run, name in zip(runs, names)]
    if len(sections) == 1:
        return Report(title=sections[0].study, runs=sections)
    comparison, notes = compare(sections, [run.scores for run in runs])
    return Report(title=f"{len(sections)} runs compared", runs=sections, comparison=comparison, notes=notes)


def _checked(section: RunReport, run: Run) -> RunReport:
    """The same section after checking the types of all that front.json holds, so that JSON gives back what went in."""
    data = Report(title="", runs=[section]).to_json()
    return Report.from_json(data, f"front.json of {run.name}").runs[0]


def _run_report(run: Run, name: str) -> RunReport:
    content: dict[str, Any] = finite(dict(run.policies.content))
    objectives = run.policies.objectives
    rows = _rows(run)
    ref_point = None if run.policies.ref_point is None else run.policies.ref_point.tolist()
    indicators = dict(content.get("indicators") or {})
    quarantined, failed = (list(content.get(key) or []) for key in ("quarantined", "failed"))
    seeds = across_seeds(objectives, rows, ref_point)
    spent = {i: cost for i, cost in run.spent.items() if job_of(i) == i}
    rows = [
        replace(row, cost=spent[row.id][1], cost_unit=spent[row.id][0]) if row.id in spent else row
        for row in rows
    ]
    made = RunReport(
        name=name,
        study=str(content.get("study") or name),
        task=content.get("task"),
        method=content.get("method"),
        context=content.get("context"),
        objectives=[ObjectiveInfo(o.name, o.direction, o.unit) for o in objectives],
        ref_point=ref_point,
        ref_point_rule=content.get("ref_point_rule"),
        verdict=verdict(content, objectives, rows, ref_point, seeds),
        policies=rows,
        indicators=indicators,
        exact=_exact(content.get("exact"), objectives),
        steering=steering(objectives, rows),
        trade_offs=_trade_offs(objectives, rows),
        steps=_steps(objectives, rows),
        intervals={},
        growth=None,
        rounds=round_rows(objectives, content.get("rounds") or []),
        seeds=seeds,
        samples=sample_rows(
            along_the_front(objectives, [p for p in rows if p.id in run.samples], POLICIES), run.samples
        ),
        quarantined=quarantined,
        failed=failed,
        cost=dict(content.get("cost") or {}),
        provenance=dict(content.get("provenance") or {}),
        config=run.config,
    )
    units = unit_scores(made, run.scores)
    ref = None if ref_point is None else objectives.orient(ref_point)
    return replace(
        made,
        intervals=further_intervals(made, units, ref),
        growth=None if ref is None else growth(made, units, ref),
    )


def _rows(run: Run) -> list[PolicyRow]:
    if not run.policies:
        return []
    objectives = run.policies.objectives
    oriented = objectives.orient(run.policies.values)
    measured = zip(run.policies, non_dominated(oriented), knee_scores(oriented))
    return [
        _row(str(i), record, objectives, bool(best), round(float(knee), 12) if np.isfinite(knee) else None)
        for i, (record, best, knee) in enumerate(measured, start=1)
    ]


def _row(
    label: str, record: PolicyRecord, objectives: Objectives, on_front: bool, knee: float | None
) -> PolicyRow:
    facts: dict[str, Any] = finite(dict(record.facts))
    intervals = facts.get("ci95") or {}
    selection = facts.get("selection")
    return PolicyRow(
        label=label,
        id=record.id,
        seed=record.seed,
        kind=record.kind,
        weights=None if record.weights is None else objectives.vector(record.weights).tolist(),
        weights_kind=record.weights_kind,
        values=objectives.vector(record.values).tolist(),
        ci95=[_interval(intervals.get(name)) for name in objectives.names],
        n=facts.get("n"),
        split=facts.get("split"),
        selection=None
        if selection is None
        else [(selection.get("values") or {}).get(name) for name in objectives.names],
        selection_n=None if selection is None else selection.get("n"),
        non_dominated=on_front,
        contribution=facts.get("hypervolume_contribution"),
        knee=knee,
        kl_nats=facts.get("kl_nats"),
        kl_to_exact_nats=facts.get("kl_to_exact_nats"),
        optimality=facts.get("optimality"),
        optimality_heldout=facts.get("optimality_heldout"),
        text=facts.get("text"),
        groups=facts.get("groups"),
    )


def _trade_offs(objectives: Objectives, rows: Sequence[PolicyRow]) -> list[TradeOffRow]:
    """What the first of two objectives costs in the second, from one end of the front to the other."""
    if len(objectives) != 2:
        return []
    oriented = objectives.orient(np.array([row.values for row in rows]).reshape(-1, 2))
    steps = [
        (*((t.a, t.b) if oriented[t.a, 0] < oriented[t.b, 0] else (t.b, t.a)), float(t.rates[0, 1]))
        for t in trade_off_rates(oriented)
    ]
    steps.sort(key=lambda step: float(oriented[step[0], 0]))
    return [TradeOffRow(rows[a].label, rows[b].label, rate) for a, b, rate in steps]


def _steps(objectives: Objectives, rows: Sequence[PolicyRow]) -> list[StepRow]:
    """Steps between neighbours that give more than they take, three objectives and more, the cheapest first."""
    if len(objectives) < 3 or not rows:
        return []
    oriented = objectives.orient(np.array([row.values for row in rows]))
    best = oriented[non_dominated(oriented)]
    spread = np.where(np.ptp(best, axis=0) > 0, np.ptp(best, axis=0), 1.0)
    made = []
    for t in trade_off_rates(oriented):
        shares = (oriented[t.b] - oriented[t.a]) / spread
        gain, loss = float(np.maximum(shares, 0).sum()), float(np.maximum(-shares, 0).sum())
        a, b = (t.a, t.b) if gain >= loss else (t.b, t.a)
        changes = objectives.orient(oriented[b] - oriented[a])
        price = min(gain, loss) / max(gain, loss) if max(gain, loss) > 0 else 1.0
        made.append(StepRow(rows[a].label, rows[b].label, changes.tolist(), price))
    return sorted(made, key=lambda step: step.price)[:STEPS]


def _interval(pair: Any) -> Interval | None:
    if not isinstance(pair, list) or len(pair) != 2 or not all(_is_number(x) for x in pair):
        return None
    return float(pair[0]), float(pair[1])


def _exact(exact: Mapping[str, Any] | None, objectives: Objectives) -> Exact | None:
    if exact is None:
        return None
    return Exact(
        source=exact.get("source"),
        beta=exact.get("beta"),
        front=_thin(_points(exact.get("front"), objectives), objectives),
        same_weights=_points(exact.get("same_weights"), objectives),
        figures={k: float(v) for k, v in exact.items() if k != "beta" and _is_number(v)},
    )


def _points(points: Any, objectives: Objectives) -> list[list[float]]:
    try:
        array = np.array(points or [], dtype=np.float64).reshape(-1, len(objectives))
    except (TypeError, ValueError) as error:
        names = ", ".join(objectives.names)
        raise ArtifactError(
            f"front.json: exact points need {len(objectives)} numbers each ({names}); {error}"
        ) from error
    return array[np.isfinite(array).all(axis=1)].tolist()


def _thin(points: list[list[float]], objectives: Objectives) -> list[list[float]]:
    """At most EXACT_POINTS of them, evenly taken along the first objective, both ends kept."""
    ordered = sorted(points, key=lambda p: tuple(objectives.orient(p)))
    if len(ordered) <= EXACT_POINTS:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, EXACT_POINTS).round().astype(int)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, with (2), (3), ... after those that come again."""
    return [
        name if names[:i].count(name) == 0 else f"{name} ({names[:i].count(name) + 1})"
        for i, name in enumerate(names)
    ]
