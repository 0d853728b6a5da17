"""Figures that turn and zoom: the front in three dimensions and the ternary of weights, by plotly (extra `interactive`).

Only described here, as plain data; plotly's own script, embedded once, draws them in the reader's browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from pareto.errors import UsageError
from pareto.objectives import Objectives
from pareto.report import canvas, wording
from pareto.report.figures import axis_label
from pareto.report.markup import Markup, join, tag
from pareto.report.measuring import objectives_of
from pareto.report.parts import note, section
from pareto.report.tree import PolicyRow, Report, RunReport

AXES = ("x", "y", "z")

SYMBOLS = ("circle", "square", "diamond", "cross", "x", "circle-open")
"""What plotly has in three dimensions, one a run."""

CAMERA = {"eye": {"x": 1.75, "y": 1.75, "z": 1.1}, "center": {"x": 0.0, "y": 0.0, "z": -0.18}}
"""Far enough away that all three axes with their titles are in view."""

CORNERS = {"b": 0, "c": 1, "a": 2}
"""Which objective stands at plotly's corners: left, right and top, as in the still triangle."""

Figures = list[tuple[str, dict[str, Any]]]
"""(what it shows, in words; plotly's data and layout as plain values)."""


def library() -> str:
    """Read plotly's script.

    Raises:
        UsageError: plotly is not installed.
    """
    if find_spec("plotly") is None:
        raise UsageError(
            "interactive figures need plotly: pip install 'pareto-align[interactive]', or leave --interactive out"
        )
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def figures(report: Report) -> Figures:
    """What can be turned and zoomed: empty below three objectives, and for runs that cannot be compared."""
    runs = [run for run in report.runs if run.policies]
    if not runs or (len(report.runs) > 1 and report.comparison is None) or len(runs[0].objectives) < 3:
        return []
    objectives = objectives_of(runs[0])
    made = [_front(report.runs, objectives)]
    if len(objectives) == 3:
        made += [_ternary(run, objectives) for run in runs if _asked(run)]
    return made


def figures_section(made: Figures, level: int) -> tuple[str, str, Markup] | None:
    """The section that holds the figures: (key, short title, markup)."""
    if not made:
        return None
    spaces = [
        tag("div", role="img", aria_label=label, class_="turning", data_figure=i)
        for i, (label, _) in enumerate(made)
    ]
    words = note(
        "Drag to turn, scroll or pinch to zoom; the figures above and the tables say the same without it."
    )
    return "interactive", "Turn", section("interactive", level, "The front, to turn and zoom", words, spaces)


def _front(runs: Sequence[RunReport], objectives: Objectives) -> tuple[str, dict[str, Any]]:
    several = len(runs) > 1
    traces = [trace for r, run in enumerate(runs) for trace in _traces(r, run, objectives, several)]
    layout: dict[str, Any] = {
        "scene": {f"{axis}axis": _axis(objectives, k) for k, axis in enumerate(AXES)} | {"camera": CAMERA},
        "showlegend": True,
    }
    if len(objectives) > 3:
        layout["updatemenus"] = [_menu(traces, objectives, place, axis) for place, axis in enumerate(AXES)]
    values = [trace.pop("_values") for trace in traces]
    for trace, points in zip(traces, values):
        trace.update({axis: [p[k] for p in points] for k, axis in enumerate(AXES)})
    label = f"The front in three dimensions: {', '.join(objectives.names)}"
    return label, {"data": traces, "layout": layout}


def _traces(r: int, run: RunReport, objectives: Objectives, several: bool) -> list[dict[str, Any]]:
    """Policies on the front, dominated ones, and the exact front, each with its points under `_values`."""
    made = []
    for best, colour, name in (
        (True, canvas.variable(canvas.run_style(r)[0]), run.name if several else "not dominated"),
        (False, "var(--faint)", f"{run.name}, dominated" if several else "dominated"),
    ):
        rows = [p for p in run.policies if p.non_dominated == best]
        if rows:
            marker = {"size": 5 if best else 3, "color": colour, "symbol": SYMBOLS[r % len(SYMBOLS)]}
            made.append(
                _points(name, [p.values for p in rows], marker, [_words(p, objectives) for p in rows])
            )
    if run.exact is not None and run.exact.front and not several:
        marker = {"size": 1.6, "color": "var(--muted)", "opacity": 0.6}
        made.append(_points("exact front", run.exact.front, marker, None))
    return made


def _points(name: str, values: Any, marker: dict[str, Any], words: list[str] | None) -> dict[str, Any]:
    hover = {"hoverinfo": "skip"} if words is None else {"text": words, "hoverinfo": "text"}
    return {
        "type": "scatter3d",
        "mode": "markers",
        "name": _plain(name),
        "marker": marker,
        "_values": values,
        **hover,
    }


def _menu(traces: list[dict[str, Any]], objectives: Objectives, place: int, axis: str) -> dict[str, Any]:
    """A choice of which objective an axis shows."""
    buttons = [
        {
            "label": f"{axis}: {_plain(objectives[k].name)}",
            "method": "update",
            "args": [
                {axis: [[p[k] for p in trace["_values"]] for trace in traces]},
                {f"scene.{axis}axis.{key}": value for key, value in _axis(objectives, k).items()},
            ],
        }
        for k in range(len(objectives))
    ]
    return {
        "buttons": buttons,
        "active": place,
        "x": 0.01 + 0.33 * place,
        "xanchor": "left",
        "y": 1.12,
        "yanchor": "top",
    }


def _ternary(run: RunReport, objectives: Objectives) -> tuple[str, dict[str, Any]]:
    asked = _asked(run)
    weights = [p.weights for p in asked if p.weights is not None]
    share = [p.contribution or 0.0 for p in asked]
    trace = {
        "type": "scatterternary",
        "mode": "markers",
        **{axis: [w[k] for w in weights] for axis, k in CORNERS.items()},
        "cliponaxis": False,
        "text": [_words(p, objectives) for p in asked],
        "hoverinfo": "text",
        "marker": {
            "size": 12,
            "color": share,
            "colorscale": [[0, "var(--wash)"], [1, "var(--accent)"]],
            "line": {"color": "var(--accent)", "width": 1},
            "colorbar": {"title": {"text": "contribution"}, "thickness": 12, "len": 0.6, "outlinewidth": 0},
        },
    }
    axes = {f"{axis}axis": {"title": {"text": _plain(objectives[k].name)}} for axis, k in CORNERS.items()}
    label = f"Requested weights of {run.name} on the simplex, coloured by contribution to the hypervolume"
    return label, {"data": [trace], "layout": {"ternary": axes, "showlegend": False}}


def _asked(run: RunReport) -> list[PolicyRow]:
    return [p for p in run.policies if p.weights is not None and p.weights_kind == "simplex"]


def _axis(objectives: Objectives, k: int) -> dict[str, Any]:
    """Title and sense: better is always towards the far end."""
    return {
        "title": {"text": _plain(axis_label(objectives, k))},
        "autorange": True if objectives[k].direction == "max" else "reversed",
    }


def _words(policy: PolicyRow, objectives: Objectives) -> str:
    lines = [f"#{policy.label}"]
    lines += [f"{name} {wording.number(v)}" for name, v in zip(objectives.names, policy.values)]
    if policy.weights is not None:
        lines.append(wording.weights_text(objectives.names, policy.weights))
    return "<br>".join(_plain(line) for line in lines)


def _plain(text: str) -> str:
    """Text that plotly, which reads a little HTML and TeX, shows as it is."""
    return str(join(canvas.text(text, 80))).replace("$", "&#36;")
