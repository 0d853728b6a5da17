"""Small pieces that several sections are made of: sections, figures, captions, tables, lists of facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from pareto.report import canvas
from pareto.report.markup import Markup, join, tag

WIDE, NARROW = (880, 500), (344, 330)
"""Pixels of a large figure on a desk and in a hand: each is drawn for its size, so that text stays readable."""


def section(key: str, level: int, title: str, *children: Any) -> Markup:
    """A titled section that can be linked to."""
    heading = tag(f"h{level}", title, id=f"{key}-title")
    return tag("section", heading, *children, id=key, aria_labelledby=f"{key}-title")


def note(*children: Any) -> Markup:
    """A quiet paragraph that explains."""
    return tag("p", *children, class_="note")


def svg(fig: Figure, label: str, css: str = "", axes_at: str | None = None) -> Markup:
    """A drawn figure as markup."""
    return Markup(canvas.inline(fig, label, css, axes_at))


def large(
    draw: Callable[[int, int], Any], label: str, *caption: Any, css: str = "", sizes: Any = (WIDE, NARROW)
) -> Markup:
    """A figure drawn twice, for wide and for narrow screens; only one is shown, and read out."""
    drawn = []
    for size, shown in zip(sizes, ("wide", "narrow")):
        made = draw(*size)
        fig, axes_at = made if isinstance(made, tuple) else (made, None)
        drawn.append(svg(fig, label, f"{shown} {css}".strip(), axes_at))
    return tag("figure", *drawn, tag("figcaption", *caption) if caption else None, class_="large")


def panel(fig: Figure, label: str, *caption: Any, css: str = "") -> Markup:
    """A small figure, one of several side by side."""
    return tag(
        "figure",
        svg(fig, label),
        tag("figcaption", *caption) if caption else None,
        class_=f"panel {css}".strip(),
    )


_KEYS = {
    "policy": '<circle cx="7" cy="7" r="4" fill="var(--accent)"/>',
    "dominated": '<circle cx="7" cy="7" r="4" fill="var(--faint)"/>',
    "exact": '<circle cx="7" cy="7" r="3.5" fill="none" stroke="var(--muted)" stroke-width="1.2"/>',
    "line": '<path d="M0 7H14" stroke="var(--muted)" stroke-width="1.4"/>',
    "dots": '<g fill="var(--muted)"><circle cx="2" cy="9" r="1.2"/><circle cx="7" cy="6" r="1.2"/><circle cx="12" cy="4" r="1.2"/></g>',
    "reference": '<path d="M2 7H12M7 2V12" stroke="var(--muted)" stroke-width="1.4"/>',
    "area": '<rect x="1" y="2" width="12" height="10" fill="var(--accent)" fill-opacity=".14"/>',
}

_SHAPES = {
    "o": '<circle cx="7" cy="7" r="4"/>',
    "s": '<path d="M3.5 3.5H10.5V10.5H3.5z"/>',
    "^": '<path d="M7 2.5L11.5 10.5H2.5z"/>',
    "D": '<path d="M7 2L12 7L7 12L2 7z"/>',
    "v": '<path d="M7 11.5L11.5 3.5H2.5z"/>',
    "P": '<path d="M5 2H9V5H12V9H9V12H5V9H2V5H5z"/>',
}


def key(kind: str, meaning: str) -> Markup:
    """One entry of a legend: a small mark and what it means."""
    return _entry(_KEYS[kind], meaning)


def run_key(run: int, name: str) -> Markup:
    """A run's colour and marker, and its name."""
    colour, marker = canvas.run_style(run)
    return _entry(f'<g fill="{canvas.variable(colour)}">{_SHAPES[marker]}</g>', name)


def _entry(mark: str, meaning: str) -> Markup:
    drawn = Markup(f'<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{mark}</svg>')
    return tag("span", drawn, meaning, class_="entry")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        title: its header.
        cells: one per row, text or markup.
        group: header over several neighbouring columns, or "".
        key: where a row's number is found in the embedded data, for sorting; None for columns that do not sort.
        number: right-aligned.
    """

    title: str
    cells: Sequence[Any]
    group: str = ""
    key: str | None = None
    number: bool = True


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[str] = (),
    css: str = "",
    row_css: Sequence[str | None] = (),
) -> Markup:
    """A table with proper headers; the first column heads its rows. Wide ones scroll inside their own frame.

    Args:
        caption: what it holds, for those who cannot see it.
        columns: columns of equal length.
        rows: the policy each row stands for ("0-3"), where it does.
        css: class of the table.
        row_css: class of each row.
    """
    n = len(columns[0].cells)
    body = [
        tag(
            "tr",
            tag("th", columns[0].cells[i], scope="row"),
            [tag("td", c.cells[i], class_="n" if c.number else None) for c in columns[1:]],
            class_=row_css[i] if row_css else None,
            data_p=rows[i] if rows else None,
            tabindex=(0 if i == 0 else -1) if rows else None,
        )
        for i in range(n)
    ]
    made = tag(
        "table",
        tag("caption", caption),
        tag("thead", _heads(columns)),
        tag("tbody", body),
        class_=css or None,
    )
    return tag("div", made, class_="scroll", role="region", aria_label=caption, tabindex=0)


def _heads(columns: Sequence[Column]) -> Markup:
    """One header row, or two where columns are grouped."""
    grouped = any(column.group for column in columns)
    upper, lower = [], []
    for i, column in enumerate(columns):
        cell = tag(
            "th",
            tag("button", column.title, type="button") if column.key else column.title,
            scope="col",
            rowspan=2 if grouped and not column.group else None,
            data_k=column.key,
            aria_sort="none" if column.key else None,
            class_=("n" if column.number and i else "") + (" first" if _starts_group(columns, i) else "")
            or None,
        )
        if not column.group:
            upper.append(cell)
            continue
        if _starts_group(columns, i):
            span = sum(1 for c in columns[i:] if c.group == column.group)
            upper.append(tag("th", column.group, scope="colgroup", colspan=span, class_="group"))
        lower.append(cell)
    return join([tag("tr", upper), tag("tr", lower) if lower else None])


def _starts_group(columns: Sequence[Column], i: int) -> bool:
    return bool(columns[i].group) and (i == 0 or columns[i - 1].group != columns[i].group)


def facts(pairs: Sequence[tuple[str, Any]]) -> Markup:
    """A list of names and what they are."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_="facts")
