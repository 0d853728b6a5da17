"""The report as one page that needs nothing else: no request, no font, no image from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from pareto.report import canvas
from pareto.report.comparing import comparison_sections
from pareto.report.hero import hero
from pareto.report.markup import Markup, join, tag
from pareto.report.sections import run_sections
from pareto.report.tree import Report

_ASSETS = files("pareto.report") / "assets"


def render(report: Report) -> str:
    """Write a report as HTML; the same report always gives the same text."""
    style, script = (_asset(name) for name in ("style.css", "script.js"))
    with canvas.theme():
        main, links = _single(report) if len(report.runs) == 1 else _several(report)
    parts = {
        "policy": _security_policy(style, script),
        "title": join(report.title),
        "style": style,
        "contents": tag(
            "nav", [tag("a", title, href=f"#{key}") for key, title in links], aria_label="Contents"
        ),
        "main": main,
        "data": _embedded(report),
        "script": script,
    }
    # One pass, so that a name which looks like a slot stays a name.
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot.group(1)], _asset("page.html"))


def _single(report: Report) -> tuple[Markup, list[tuple[str, str]]]:
    run = report.runs[0]
    made = run_sections(0, run, level=2)
    heading = tag("header", tag("p", run.study, class_="study"), hero(run, level=1))
    return join([heading, [content for _, _, content in made]]), [(key, title) for key, title, _ in made]


def _several(report: Report) -> tuple[Markup, list[tuple[str, str]]]:
    compared = comparison_sections(report, level=2)
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


def _embedded(report: Report) -> Markup:
    """The data as JSON that no HTML parser can leave: what could open or close an element is written as an escape."""
    text = json.dumps(report.to_json(), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _security_policy(style: str, script: str) -> Markup:
    """Nothing may be fetched, and only this very style and script apply."""
    allowed = (
        "default-src 'none'",
        f"style-src 'sha256-{_digest(style)}'",
        f"script-src 'sha256-{_digest(script)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return Markup("; ".join(allowed))


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
