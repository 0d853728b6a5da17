"""Figures as files of their own, SVG and PNG, for papers and READMEs: the light theme, no page around them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from pareto.objectives import Objectives
from pareto.report import canvas, figures
from pareto.report.measuring import objectives_of
from pareto.report.tree import RunReport
from pareto.state import atomic

WIDTH, HEIGHT = 640, 420
"""Pixels of a figure; a PNG has twice as many each way."""


def stills(run: RunReport) -> dict[str, Callable[[], Figure]]:
    """The figures that a run has something to show in: file name without suffix -> what draws it."""
    objectives = objectives_of(run)
    m = len(objectives)
    weighted = any(p.weights is not None and p.weights_kind == "simplex" for p in run.policies)
    several = run.seeds is not None and bool(run.seeds.surfaces)
    drawn: dict[str, tuple[bool, Callable[[], Figure]]] = {
        "front": (m == 2, lambda: figures.front(0, run, objectives, WIDTH, HEIGHT)),
        "matrix": (m > 2, lambda: matrix(run, objectives)),
        "parallel": (m > 2, lambda: figures.parallel(0, run, objectives, WIDTH, HEIGHT)[0]),
        "weights": (m == 3 and weighted, lambda: figures.ternary(0, run, objectives)),
        "attainment": (several, lambda: figures.attainment(0, run, objectives, WIDTH, HEIGHT)),
        "cost": (run.growth is not None, lambda: figures.growth(run, WIDTH, HEIGHT)),
    }
    return {name: draw for name, (there, draw) in drawn.items() if there and run.policies}


def matrix(run: RunReport, objectives: Objectives) -> Figure:
    """Every two of three or more objectives in one figure: the rows are objectives from the second, the columns to the last but one."""
    m = len(objectives)
    width, height = figures.PANEL if m < 5 else figures.DENSE_PANEL
    left, right, top, bottom = 52, 8, 8, 42
    whole = (width * (m - 1), height * (m - 1))
    fig = Figure(figsize=(whole[0] / 72, whole[1] / 72))
    for j in range(1, m):
        for i in range(j):
            place = (
                (i * width + left) / whole[0],
                1 - (j * height - bottom) / whole[1],
                (width - left - right) / whole[0],
                (height - top - bottom) / whole[1],
            )
            figures.draw_pair(fig.add_axes(place), 0, run, objectives, i, j)
    return fig


def write_stills(run: RunReport, folder: Path | str) -> list[Path]:
    """Write every figure of a run as .svg and .png.

    Args:
        run: the run.
        folder: where the files go; made when missing.

    Returns:
        the files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with canvas.theme():
        for name, draw in stills(run).items():
            fig = draw()
            atomic.write_text(folder / f"{name}.svg", canvas.standalone(fig))
            atomic.write_bytes(folder / f"{name}.png", png(fig))
            written += [folder / f"{name}.svg", folder / f"{name}.png"]
    return written


def png(fig: Figure) -> bytes:
    """The figure as a PNG, the same bytes every time."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.dpi": 144}):
        fig.savefig(buffer, format="png", facecolor=canvas.PAPER, metadata={"Software": None})
    return buffer.getvalue()
