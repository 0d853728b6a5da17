"""The figures of one run. Each takes the report's data and returns a drawn figure; none computes a result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from pareto.objectives import Objectives
from pareto.report import canvas, wording
from pareto.report.canvas import ACCENT, FAINT, HAIR, INK, MUTED
from pareto.report.tree import Growth, PolicyRow, RunReport, Vector

CROWD = 60
"""Above so many policies, intervals and exact optima are left out of small panels: they would hide the points."""

EXACT_DOTS = 100
"""Most points of a dense exact front in a small panel; half as many in a matrix of five or more objectives."""

LABELLED = 16
"""Up to so many policies are numbered beside their points."""

PANEL, DENSE_PANEL = (270, 232), (210, 188)
"""Width and height of a small panel, pixels; the second in a matrix of five or more objectives."""


def axis_label(objectives: Objectives, k: int) -> str:
    """Name, unit and, where it matters, that less is better."""
    objective = objectives[k]
    unit = "" if objective.unit in ("", "reward", objective.name) else f" ({canvas.text(objective.unit, 12)})"
    less = ", less is better" if objective.direction == "min" else ""
    return f"{canvas.text(objective.name, 26)}{unit}{less}"


def staircase(objectives: Objectives, points: Sequence[Vector], ref_point: Vector) -> np.ndarray:
    """[k, 2] outline of the area that the points dominate above the reference point, two objectives.

    Points that are not better than the reference point in both objectives add nothing.
    """
    ref = objectives.orient(ref_point)
    better = objectives.orient(points)
    better = better[(better > ref).all(axis=1)]
    corners = [ref]
    height = ref[1]
    for x, y in better[np.lexsort((-better[:, 1], -better[:, 0]))]:
        if y > height:
            corners += [np.array([x, height]), np.array([x, y])]
            height = y
    return objectives.orient([*corners, np.array([ref[0], height])])


def front(r: int, run: RunReport, objectives: Objectives, width: int, height: int) -> Figure:
    """Two objectives: policies with intervals, the area they dominate, and the exact optima where known.

    An axis of a minimised objective is reversed, so that better is always up and to the right.
    """
    fig, axes = canvas.figure(width, height, left=58, right=18, top=14, bottom=46)
    shown = [p.values for p in run.policies]
    best = [p.values for p in run.policies if p.non_dominated]
    if run.ref_point is not None and best:
        axes.fill(*staircase(objectives, best, run.ref_point).T, color=ACCENT, alpha=0.08, linewidth=0)
        axes.plot(*run.ref_point, marker="+", markersize=9, markeredgewidth=1.2, color=MUTED)
        shown.append(run.ref_point)
    if run.exact is not None and run.exact.front:
        axes.plot(*np.array(run.exact.front).T, color=MUTED, linewidth=1.1)
        shown += run.exact.front
    shown += _exact_optima(axes, run, 0, 1)
    shown += _policies(axes, r, run.policies, 0, 1, size=46)
    if len(run.policies) <= LABELLED:
        _numbers(axes, run.policies, 0, 1)
    frame(axes, shown, objectives, 0, 1, x_ticks=max(3, width // 95), y_ticks=6)
    return fig


def pair(r: int, run: RunReport, objectives: Objectives, i: int, j: int) -> Figure:
    """One panel of the scatter matrix: objective `j` against objective `i`."""
    fig, axes = panel(objectives)
    draw_pair(axes, r, run, objectives, i, j)
    return fig


def draw_pair(axes: Axes, r: int, run: RunReport, objectives: Objectives, i: int, j: int) -> None:
    """Policies, their exact optima and the dense exact front in two of the objectives."""
    few = len(run.policies) <= CROWD
    shown = [[p.values[i], p.values[j]] for p in run.policies]
    if run.exact is not None and run.exact.front:
        most = EXACT_DOTS if len(objectives) < 5 else EXACT_DOTS // 2
        dense = [[p[i], p[j]] for p in run.exact.front[:: -(-len(run.exact.front) // most)]]
        axes.scatter(*np.array(dense).T, s=4, color=MUTED, alpha=0.55, linewidths=0, zorder=1)
        shown += dense
    shown += _exact_optima(axes, run, i, j) if few else []
    shown += _policies(axes, r, run.policies, i, j, size=26 if few else 13, intervals=few)
    frame(axes, shown, objectives, i, j, x_ticks=4, y_ticks=4)


def panel(objectives: Objectives) -> tuple[Figure, Axes]:
    """An empty panel of a scatter matrix."""
    size = PANEL if len(objectives) < 5 else DENSE_PANEL
    return canvas.figure(*size, left=52, right=8, top=8, bottom=42)


def parallel(r: int, run: RunReport, objectives: Objectives, width: int, height: int) -> tuple[Figure, str]:
    """Parallel coordinates, better always up, every axis from the worst to the best policy.

    Returns:
        The figure, and where its axes stand in it: "x0,x1,...;top;bottom" in pixels.
    """
    narrow = width <= 500
    left, right, top, bottom = (30, 30, 26, 100) if narrow else (60, 60, 26, 52)
    fig, axes = canvas.figure(width, height, left, right, top, bottom)
    m = len(objectives)
    values = objectives.orient([p.values for p in run.policies])
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = np.where(high > low, (values - low) / np.where(high > low, high - low, 1.0), 0.5)
    few = len(run.policies) <= CROWD
    for on_front, colour in ((False, FAINT), (True, ACCENT)):
        rows = [i for i, p in enumerate(run.policies) if p.non_dominated == on_front]
        if rows:
            axes.add_collection(
                LineCollection(
                    [np.column_stack([np.arange(m), scaled[i]]) for i in rows],
                    colors=colour,
                    alpha=0.8 if few else 0.45,
                    linewidths=1.4 if few else 0.9,
                    gid=canvas.policies_gid(r, rows),
                )
            )
    for k, (worst, best) in enumerate(zip(objectives.orient(low), objectives.orient(high))):
        axes.axvline(k, color=MUTED, linewidth=0.9)
        written = wording.column([worst, best])
        for value, y, va in ((best, 1.025, "bottom"), (worst, -0.025, "top")):
            axes.text(k, y, written(value), ha="center", va=va, color=MUTED, fontsize=10)
    axes.set_xlim(0, max(m - 1, 1))
    axes.set_ylim(0, 1)
    names = [canvas.text(name, 18) for name in objectives.names]
    turn, ha = (38, "right") if narrow else (0, "center")
    axes.set_xticks(range(m), names, rotation=turn, ha=ha, rotation_mode="anchor", color=INK, fontsize=11)
    axes.tick_params(axis="x", pad=24)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(False)
    places = [left + k / max(m - 1, 1) * (width - left - right) for k in range(m)]
    return fig, f"{','.join(f'{x:.1f}' for x in places)};{top};{height - bottom}"


def ternary(r: int, run: RunReport, objectives: Objectives) -> Figure:
    """Three objectives: where on the simplex of weights the hypervolume comes from; a fuller point contributes more."""
    fig, axes = canvas.figure(*PANEL, left=6, right=6, top=6, bottom=6)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(0.75)]])
    for step in (0.25, 0.5, 0.75):
        for k in range(3):
            a, b, c = corners[k], corners[(k + 1) % 3], corners[(k + 2) % 3]
            axes.plot(*np.array([a + step * (c - a), b + step * (c - b)]).T, color=HAIR, linewidth=0.7)
    axes.plot(*corners[[0, 1, 2, 0]].T, color=MUTED, linewidth=0.9)
    asked = [i for i, p in enumerate(run.policies) if p.weights is not None and p.weights_kind == "simplex"]
    if asked:
        share = np.array([run.policies[i].contribution or 0.0 for i in asked])
        share = share / share.max() if share.max() > 0 else share
        axes.scatter(
            *(np.array([run.policies[i].weights for i in asked]) @ corners).T,
            s=52,
            facecolors=[(ACCENT, round(float(a), 3)) for a in share],
            edgecolors=[ACCENT if run.policies[i].non_dominated else FAINT for i in asked],
            linewidths=1.1,
            zorder=3,
            gid=canvas.policies_gid(r, asked),
        )
    places = ((0.0, -0.06, "left", "top"), (1.0, -0.06, "right", "top"), (0.5, 0.92, "center", "bottom"))
    for name, (x, y, ha, va) in zip(objectives.names, places):
        axes.text(x, y, canvas.text(name, 16), ha=ha, va=va, fontsize=11)
    axes.set_xlim(-0.05, 1.05)
    axes.set_ylim(-0.16, 1.04)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return fig


def steering(r: int, run: RunReport, objectives: Objectives, k: int) -> Figure:
    """Delivered value of one objective against the weight that was asked for it."""
    fig, axes = canvas.figure(*PANEL, left=54, right=10, top=10, bottom=42)
    asked = [(i, p) for i, p in enumerate(run.policies) if p.weights is not None]
    few = len(asked) <= CROWD
    xs = [p.weights[k] for _, p in asked if p.weights is not None]
    ys = [p.values[k] for _, p in asked]
    shown = list(ys)
    for (_, policy), x in zip(asked, xs):
        interval = policy.ci95[k]
        if interval is not None and few:
            axes.plot([x, x], interval, color=ACCENT, alpha=0.35, linewidth=1.2)
            shown += interval
    axes.scatter(
        xs,
        ys,
        s=26 if few else 14,
        color=ACCENT,
        linewidths=0,
        zorder=3,
        gid=canvas.policies_gid(r, [i for i, _ in asked]),
    )
    axes.set_xlim(*canvas.limits([0.0, *xs, 1.0], 0.04))
    axes.set_ylim(*_better_up(objectives, k, canvas.limits(shown)))
    axes.set_xlabel("requested weight", color=MUTED, fontsize=10, labelpad=6)
    canvas.ticks(axes.xaxis, 4)
    canvas.ticks(axes.yaxis, 4)
    axes.spines[["left", "bottom"]].set_visible(False)
    return fig


def attainment(r: int, run: RunReport, objectives: Objectives, width: int, height: int) -> Figure:
    """Two objectives: what a share of the seeds attains; the stronger the line, the more seeds."""
    fig, axes = canvas.figure(width, height, left=58, right=18, top=14, bottom=46)
    points = [p.values for p in run.policies]
    shown = [*points, *([run.ref_point] if run.ref_point is not None else [])]
    worst = objectives.orient(objectives.orient(shown).min(axis=0)).tolist()
    seeds = run.seeds
    for surface in seeds.surfaces if seeds is not None else ():
        line = staircase(objectives, surface.points, worst)[1:]
        share = surface.seeds / len(seeds.rows) if seeds is not None else 0.0
        axes.plot(*line.T, color=ACCENT, alpha=0.25 + 0.75 * share, linewidth=1.6)
    axes.scatter(
        *np.array(points).T, s=14, color=FAINT, linewidths=0, gid=canvas.policies_gid(r, range(len(points)))
    )
    frame(axes, shown, objectives, 0, 1, x_ticks=max(3, width // 95), y_ticks=6)
    return fig


def growth(run: RunReport, width: int, height: int) -> Figure:
    """Hypervolume against cost, job after job, with its band."""
    fig, axes = canvas.figure(width, height, left=64, right=18, top=14, bottom=46)
    if run.growth is not None:
        heights = growing(axes, run.growth, ACCENT)
        cost_frame(axes, [0.0, *run.growth.costs], heights, run.growth.cost_unit, width)
    return fig


def growing(axes: Axes, growth: Growth, colour: str) -> list[float]:
    """Draw one curve with its band; returns the heights that it reaches."""
    values = [step.hypervolume for step in growth.steps]
    banded = [(x, *step.ci95) for x, step in zip(growth.costs, growth.steps) if step.ci95 is not None]
    if banded:
        xs, lows, highs = np.array(banded).T
        axes.fill(np.r_[xs, xs[::-1]], np.r_[lows, highs[::-1]], color=colour, alpha=0.12, linewidth=0)
    axes.plot(growth.costs, values, color=colour, linewidth=1.5)
    axes.scatter(growth.costs, values, s=16, color=colour, linewidths=0, zorder=3)
    return [*values, *(end for _, *ends in banded for end in ends)]


def cost_frame(
    axes: Axes, costs: Sequence[float], heights: Sequence[float], unit: str | None, width: int
) -> None:
    """Limits, labels and ticks of hypervolume against cost."""
    axes.set_xlim(*canvas.limits(costs))
    axes.set_ylim(*canvas.limits(heights, 0.15))
    axes.set_xlabel(wording.named(wording.COSTS, unit).lower(), labelpad=7)
    axes.set_ylabel("hypervolume", labelpad=7)
    canvas.ticks(axes.xaxis, max(3, width // 130))
    canvas.ticks(axes.yaxis, 5)
    axes.spines[["left", "bottom"]].set_visible(False)


def _policies(
    axes: Axes, r: int, policies: Sequence[PolicyRow], i: int, j: int, size: float, intervals: bool = True
) -> list[Vector]:
    """Draw policies, dominated ones grey and behind; returns the ends of their intervals."""
    ends: list[Vector] = []
    for on_front, colour, z in ((False, FAINT, 2.0), (True, ACCENT, 3.0)):
        rows = [k for k, p in enumerate(policies) if p.non_dominated == on_front]
        if not rows:
            continue
        bars = [bar for k in rows for bar in _bars(policies[k], i, j)] if intervals else []
        if bars:
            axes.add_collection(LineCollection(bars, colors=colour, alpha=0.45, linewidths=1.2, zorder=z))
            ends += [end for bar in bars for end in bar]
        axes.scatter(
            [policies[k].values[i] for k in rows],
            [policies[k].values[j] for k in rows],
            s=size,
            color=colour,
            linewidths=0,
            zorder=z + 0.5,
            gid=canvas.policies_gid(r, rows),
        )
    return ends


def _bars(policy: PolicyRow, i: int, j: int) -> list[list[Vector]]:
    x, y = policy.values[i], policy.values[j]
    across, along = policy.ci95[i], policy.ci95[j]
    return [
        *([] if across is None else [[[across[0], y], [across[1], y]]]),
        *([] if along is None else [[[x, along[0]], [x, along[1]]]]),
    ]


def _exact_optima(axes: Axes, run: RunReport, i: int, j: int) -> list[Vector]:
    """Hollow points: exact optima at the policies' weights, each tied to its policy where they correspond."""
    if run.exact is None or not run.exact.same_weights:
        return []
    points = [[p[i], p[j]] for p in run.exact.same_weights]
    if len(points) == len(run.policies):
        ties = [[point, [p.values[i], p.values[j]]] for point, p in zip(points, run.policies)]
        axes.add_collection(LineCollection(ties, colors=FAINT, linewidths=0.8, zorder=1.5))
    axes.scatter(*np.array(points).T, s=24, facecolors="none", edgecolors=MUTED, linewidths=1.0, zorder=2)
    return points


def _numbers(axes: Axes, policies: Sequence[PolicyRow], i: int, j: int) -> None:
    for policy in policies:
        axes.annotate(
            policy.label,
            (policy.values[i], policy.values[j]),
            xytext=(6, 5),
            textcoords="offset points",
            color=MUTED,
            fontsize=10,
        )


def frame(
    axes: Axes, shown: Sequence[Vector], objectives: Objectives, i: int, j: int, x_ticks: int, y_ticks: int
) -> None:
    """Limits that hold everything shown, better up and to the right, labels, few ticks, no box."""
    axes.set_xlim(*_better_up(objectives, i, canvas.limits([p[0] for p in shown])))
    axes.set_ylim(*_better_up(objectives, j, canvas.limits([p[1] for p in shown])))
    axes.set_xlabel(axis_label(objectives, i), labelpad=7)
    axes.set_ylabel(axis_label(objectives, j), labelpad=7)
    canvas.ticks(axes.xaxis, x_ticks)
    canvas.ticks(axes.yaxis, y_ticks)
    axes.spines[["left", "bottom"]].set_visible(False)


def _better_up(objectives: Objectives, k: int, span: tuple[float, float]) -> tuple[float, float]:
    return span if objectives[k].direction == "max" else (span[1], span[0])
