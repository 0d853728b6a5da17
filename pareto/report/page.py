"""The report as one page that needs nothing else: no request, no font, no image from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

from pareto.report import canvas
from pareto.report import interactive as turning
from pareto.report.comparing import comparison_sections
from pareto.report.hero import hero
from pareto.report.markup import Markup, join, tag
from pareto.report.sections import run_sections
from pareto.report.tree import Report

_ASSETS = files("pareto.report") / "assets"


def render(report: Report, interactive: bool = False) -> str:
    """Write a report as HTML; the same report always gives the same text.

    Args:
        report: what to write.
        interactive: add figures that turn and zoom where there are three objectives and more; their library makes the
            page some 5 MB, still in one piece and without a request.

    Raises:
        UsageError: `interactive` without plotly.
    """
    style, script = (_asset(name) for name in ("style.css", "script.js"))
    library = turning.library() if interactive else ""
    made = turning.figures(report) if interactive else []
    with canvas.theme():
        main, links = _single(report, made) if len(report.runs) == 1 else _several(report, made)
    scripts = [library, _asset("interactive.js")] if made else []
    parts = {
        "policy": _security_policy(style, script, scripts),
        "title": join(report.title),
        "style": style,
        "contents": tag(
            "nav", [tag("a", title, href=f"#{key}") for key, title in links], aria_label="Contents"
        ),
        "main": main,
        "data": _embedded(report),
        "script": script,
        "interactive": _interactive(made, scripts),
    }
    # One pass, so that a name which looks like a slot stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot.group(1)], _asset("page.html"))


def _single(report: Report, made: turning.Figures) -> tuple[Markup, list[tuple[str, str]]]:
    run = report.runs[0]
    sections = _with(run_sections(0, run, level=2), "front-0", turning.figures_section(made, level=2))
    heading = tag("header", tag("p", run.study, class_="study"), hero(run, level=1))
    return join([heading, [content for _, _, content in sections]]), [
        (key, title) for key, title, _ in sections
    ]


def _several(report: Report, made: turning.Figures) -> tuple[Markup, list[tuple[str, str]]]:
    compared = _with(comparison_sections(report, level=2), "fronts", turning.figures_section(made, level=2))
    verdict = report.comparison.verdict if report.comparison is not None else None
    heading = tag(
        "header",
        tag("h1", report.title),
        tag("p", verdict, class_="lead") if verdict else None,
        [tag("p", text, class_="flag") for text in report.notes],
    )
    runs = [
        tag(
            "article",
            tag("h2", run.name, class_="run", id=f"run-{r}"),
            hero(run, level=3),
            [content for _, _, content in run_sections(r, run, level=3)],
            aria_labelledby=f"run-{r}",
        )
        for r, run in enumerate(report.runs)
    ]
    links = [(key, title) for key, title, _ in compared]
    links += [(f"run-{r}", run.name) for r, run in enumerate(report.runs)]
    return join([heading, [content for _, _, content in compared], runs]), links


Sections = list[tuple[str, str, Markup]]


def _with(sections: Sections, after: str, more: tuple[str, str, Markup] | None) -> Sections:
    """The sections with one more after the one of that key, or at the end."""
    if more is None:
        return sections
    place = next((i + 1 for i, (key, _, _) in enumerate(sections) if key == after), len(sections))
    return [*sections[:place], more, *sections[place:]]


def _interactive(made: turning.Figures, scripts: list[str]) -> Markup:
    """The figures as JSON and what draws them; nothing where there are none."""
    if not made:
        return Markup("")
    data = Markup(
        f'<script type="application/json" id="figures">{_json([figure for _, figure in made])}</script>'
    )
    return Markup("\n".join([data, *(f"<script>{script}</script>" for script in scripts), ""]))


def _embedded(report: Report) -> Markup:
    return _json(report.to_json())


def _json(value: Any) -> Markup:
    """JSON that no HTML parser can leave: what could open or close an element is written as an escape."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _security_policy(style: str, script: str, more: list[str]) -> Markup:
    """Nothing may be fetched, and only this very style and these scripts apply.

    plotly writes styles of its own and makes pictures of its own text: with it these two rules are wider.
    """
    allowed = (
        "default-src 'none'",
        "style-src 'unsafe-inline'" if more else f"style-src 'sha256-{_digest(style)}'",
        " ".join(["script-src", *(f"'sha256-{_digest(text)}'" for text in (script, *more))]),
        "img-src data: blob:" if more else "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return Markup("; ".join(allowed))


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
