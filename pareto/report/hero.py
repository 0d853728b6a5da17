"""The top of a run: its verdict, the facts behind it, its warnings and key figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pareto.report import wording
from pareto.report.markup import Markup, join, tag
from pareto.report.parts import facts
from pareto.report.tree import RunReport


def hero(run: RunReport, level: int) -> Markup:
    """The verdict: the number, its interval, the facts behind it, key figures and warnings."""
    value = run.indicators.get("hypervolume")
    shown, interval = (
        ("not known", "")
        if value is None
        else wording.with_interval(value, run.indicators.get("hypervolume_ci95"))
    )
    about = " \u00b7 ".join(str(x) for x in (run.method, run.task, context_text(run)) if x)
    return tag(
        "div",
        tag("p", about, class_="kicker") if about else None,
        tag(
            f"h{level}",
            tag("span", "Hypervolume ", class_="what"),
            tag("span", shown, class_="big"),
            " " if interval else None,
            tag("span", f"95 % interval {interval}", class_="interval") if interval else None,
        ),
        [tag("p", fact.replace(" %", "\u00a0%"), class_="fact") for fact in run.verdict.facts],
        [tag("p", flag, class_="flag") for flag in run.verdict.flags],
        _figures(run),
        class_="hero",
    )


def context_text(run: RunReport) -> str:
    """What the run was conditioned on, in a few words."""
    return ", ".join(f"{k} = {v}" for k, v in (run.context or {}).items())


def _figures(run: RunReport) -> Markup:
    """What is known of the exact optimum and the further indicators, each with what it means."""
    exact = run.exact.figures if run.exact is not None else {}
    groups = [
        ("Against the exact optimum", wording.FIGURES, exact),
        (
            "Further indicators, with 95 % intervals" if run.intervals else "Further indicators",
            _worded(run.indicators),
            run.indicators,
        ),
    ]
    made = []
    for title, names, figures_ in groups:
        pairs = [
            (
                name,
                join(
                    [
                        wording.number(figures_[key_]),
                        _error(figures_, key_),
                        _interval(run, figures_, key_),
                        tag("small", meaning),
                    ]
                ),
            )
            for key_, (name, meaning) in names.items()
            if isinstance(figures_.get(key_), int | float)
        ]
        if pairs:
            made.append(tag("div", tag("p", title, class_="over"), facts(pairs), class_="figures"))
    return join(made)


def _worded(indicators: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Names and meanings of the run's further indicators; one that nobody worded keeps its name."""
    shown = {"hypervolume", "hypervolume_ci95", "outside_ref_point"}
    others = [
        name
        for name in indicators
        if name not in shown | set(wording.INDICATORS) and not name.endswith("_error")
    ]
    return wording.INDICATORS | {name: (name.replace("_", " ").capitalize(), "") for name in others}


def _interval(run: RunReport, figures: Mapping[str, Any], name: str) -> Markup | None:
    """The interval of a further indicator, where the run's scores per unit tell it."""
    if figures is not run.indicators or name not in run.intervals:
        return None
    return tag("small", wording.with_interval(figures[name], run.intervals[name])[1], class_="span")


def _error(figures: Mapping[str, Any], name: str) -> str:
    """How far an approximate figure may be off."""
    error = figures.get(f"{name}_error")
    return f" \u00b1{wording.number(error, 2)}" if error else ""
