"""Figures over several runs: their fronts in one picture, and hypervolume against what it cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from pareto.objectives import Objectives
from pareto.report import canvas, figures
from pareto.report.tree import AttainmentDifference, Comparison, RunReport, Vector


def fronts(
    runs: Sequence[RunReport], comparison: Comparison, objectives: Objectives, width: int, height: int
) -> Figure:
    """Two objectives: the non-dominated policies of every run, with the line below which each run dominates."""
    fig, axes = canvas.figure(width, height, left=58, right=18, top=14, bottom=46)
    shown: list[Vector] = [comparison.ref_point]
    axes.plot(*comparison.ref_point, marker="+", markersize=9, markeredgewidth=1.2, color=canvas.MUTED)
    for r, run in enumerate(runs):
        best = [p.values for p in run.policies if p.non_dominated]
        if best:
            line = figures.staircase(objectives, best, comparison.ref_point)[1:]
            axes.plot(*line.T, color=canvas.run_style(r)[0], alpha=0.5, linewidth=1.2)
        shown += _scatter(axes, r, run, 0, 1, size=40)
    figures.frame(axes, shown, objectives, 0, 1, x_ticks=max(3, width // 95), y_ticks=6)
    return fig


def pair(runs: Sequence[RunReport], objectives: Objectives, i: int, j: int) -> Figure:
    """One panel of the scatter matrix of all runs."""
    fig, axes = figures.panel(objectives)
    shown = [point for r, run in enumerate(runs) for point in _scatter(axes, r, run, i, j, size=22)]
    figures.frame(axes, shown, objectives, i, j, x_ticks=4, y_ticks=4)
    return fig


def cost(runs: Sequence[RunReport], comparison: Comparison, width: int, height: int) -> Figure:
    """Hypervolume against cost: a curve with its band for a run of several jobs, its end as a point with its interval."""
    fig, axes = canvas.figure(width, height, left=64, right=18, top=14, bottom=46)
    heights: list[float] = []
    spent = [c.cost or 0.0 for c in comparison.contenders]
    for contender, x in zip(comparison.contenders, spent):
        colour, marker = canvas.run_style(contender.run)
        if contender.growth is not None:
            heights += figures.growing(axes, contender.growth, colour)
        elif contender.hypervolume_ci95 is not None:
            axes.plot([x, x], contender.hypervolume_ci95, color=colour, alpha=0.45, linewidth=1.4)
            heights += contender.hypervolume_ci95
        axes.scatter([x], [contender.hypervolume], s=52, color=colour, marker=marker, linewidths=0, zorder=3)
        heights.append(contender.hypervolume)
    figures.cost_frame(axes, [0.0, *spent], heights, comparison.cost_unit, width)
    return fig


def attainment(
    runs: Sequence[RunReport], comparison: Comparison, found: AttainmentDifference, objectives: Objectives
) -> Figure:
    """Two objectives: where the first run or another attains more often, the fuller the larger the difference."""
    fig, axes = canvas.figure(420, 330, left=58, right=18, top=14, bottom=46)
    by_level: dict[float, list[Vector]] = {}
    for *corners, level in found.rectangles:
        by_level.setdefault(round(level, 6), []).append(corners)
    for level, rectangles in sorted(by_level.items()):
        colour = canvas.run_style(0 if level > 0 else found.run)[0]
        outlines = [Path(_corners(r), closed=True) for r in rectangles]
        axes.add_patch(
            PathPatch(
                Path.make_compound_path(*outlines),
                facecolor=colour,
                alpha=round(0.85 * abs(level), 3),
                linewidth=0,
            )
        )
    corners = np.array([r[:4] for r in found.rectangles]).reshape(-1, 2)
    figures.frame(axes, [comparison.ref_point, *corners.tolist()], objectives, 0, 1, x_ticks=4, y_ticks=5)
    return fig


def _corners(rectangle: Sequence[float]) -> list[tuple[float, float]]:
    left, low, right, high = rectangle
    return [(left, low), (right, low), (right, high), (left, high), (left, low)]


def _scatter(axes: Axes, r: int, run: RunReport, i: int, j: int, size: float) -> list[Vector]:
    rows = [k for k, p in enumerate(run.policies) if p.non_dominated]
    points = [[run.policies[k].values[i], run.policies[k].values[j]] for k in rows]
    if points:
        colour, marker = canvas.run_style(r)
        axes.scatter(
            *np.array(points).T,
            s=size,
            color=colour,
            marker=marker,
            linewidths=0,
            zorder=3,
            gid=canvas.policies_gid(r, rows),
        )
    return points
