"""Matplotlib figures as small inline SVG that follows the page: its font, its colours, its light and dark.

A figure is drawn in the light theme's colours. `inline` turns each of them into the page's CSS variable, drops every id,
style block and clip path (figures set limits that hold all they draw), and marks the shapes that stand for policies.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, ScalarFormatter

INK, MUTED, HAIR, FAINT, ACCENT = "#1e2429", "#626c75", "#e2e2dc", "#b4babf", "#0d6c78"
PAPER = "#fdfdfb"
RUNS = ("#0d6c79", "#b4541a", "#5a4fa3", "#3f7d2c", "#a3316f", "#7a6412")
"""One colour a run, told apart also by marker; darker than needed on white, so that thin lines hold."""
MARKERS = ("o", "s", "^", "D", "v", "P")

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    HAIR: "--hair",
    FAINT: "--faint",
    ACCENT: "--accent",
    **{colour: f"--run{i}" for i, colour in enumerate(RUNS)},
}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pareto",
    "text.parse_math": False,
    "text.color": INK,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.edgecolor": HAIR,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 1.0,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "figure.dpi": 72,  # one point is one pixel
    "savefig.dpi": 72,
    "grid.color": HAIR,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 5,
    "lines.linewidth": 1.4,
    "path.simplify": False,
}

_HREF = "{http://www.w3.org/1999/xlink}href"
_ATTRIBUTES = {
    "fill",
    "fill-opacity",
    "font-size",
    "font-weight",
    "opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
}


def run_style(run: int) -> tuple[str, str]:
    """Colour and marker of a run among several."""
    return RUNS[run % len(RUNS)], MARKERS[run % len(MARKERS)]


def variable(colour: str) -> str:
    """The page's CSS variable for a colour of this module; any other colour stays."""
    return f"var({_VARIABLES[colour]})" if colour in _VARIABLES else colour


@contextmanager
def theme() -> Iterator[None]:
    """Everything drawn inside follows the report's style, whatever the user's matplotlib settings."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # The page's font draws the text; matplotlib's own lacking a glyph changes nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def figure(width: int, height: int, left: int, right: int, top: int, bottom: int) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; all sizes in pixels, the last four are margins."""
    fig = Figure(figsize=(width / 72, height / 72))
    FigureCanvasSVG(fig)
    axes = fig.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
    return fig, axes


def ticks(axis: Any, most: int) -> None:
    """At most so many round ticks, written in full or with an SI prefix where numbers are large."""
    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=3))
    low, high = axis.get_view_interval()
    if max(abs(low), abs(high)) >= 1e5:
        axis.set_major_formatter(EngFormatter(sep=""))
    else:
        formatter = ScalarFormatter(useOffset=False, useMathText=False)
        formatter.set_scientific(False)
        axis.set_major_formatter(formatter)


def limits(values: Sequence[float], margin: float = 0.08) -> tuple[float, float]:
    """The span of the values, widened on both sides by this share of it; never empty."""
    low, high = min(values), max(values)
    pad = (high - low) * margin or max(abs(high), 1.0) * margin
    return low - pad, high + pad


def text(name: str, most: int = 30) -> str:
    """A name that any SVG can hold: no control characters, not longer than a label may be."""
    plain = "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Cn") else c for c in name)
    return plain if len(plain) <= most else f"{plain[: most - 1]}\u2026"


def policies_gid(run: int, policies: Sequence[int]) -> str:
    """The gid of a collection whose shapes stand for these policies, in order."""
    return f"policies:{run}:{','.join(map(str, policies))}"


def inline(fig: Figure, label: str, css: str = "", axes_at: str | None = None) -> str:
    """The figure as an SVG element to be placed in a page.

    Args:
        fig: drawn inside `theme()`.
        label: what it shows, for those who cannot see it.
        css: class of the element.
        axes_at: where the axes of parallel coordinates stand, for brushing.
    """
    buffer = io.StringIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = ElementTree.fromstring(buffer.getvalue())
    for element in drawn.iter():
        element.tag = element.tag.rpartition("}")[2]  # inside a page an SVG needs no namespace
    root = ElementTree.Element(
        "svg", {"viewBox": drawn.attrib["viewBox"], "role": "img", "aria-label": label}
    )
    root.attrib.update({key: value for key, value in (("class", css), ("data-axes", axes_at)) if value})
    _copy(drawn, root)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def standalone(fig: Figure) -> str:
    """The figure as an SVG file of its own, in the light theme, its text as outlines: the same everywhere.

    Args:
        fig: drawn inside `theme()`, where this is called too.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path"}):
        fig.savefig(buffer, format="svg", facecolor=PAPER, metadata={"Date": None})
    return buffer.getvalue()


def _copy(source: ElementTree.Element, target: ElementTree.Element) -> None:
    """Append what is visible in `source` to `target`, flat: no groups, no ids, no invisible shapes."""
    for child in source:
        gid = child.attrib.get("id", "")
        if gid.startswith("policies:"):
            _copy_policies(child, target, gid)
        elif child.tag == "g" and child.find("defs") is not None:
            _markers(child, target)
        elif child.tag == "g":
            _copy(child, target)
        elif child.tag == "path":
            _path(child, target)
        elif child.tag == "text":
            _text(child, target)


def _copy_policies(group: ElementTree.Element, target: ElementTree.Element, gid: str) -> None:
    _, run, policies = gid.split(":")
    together = ElementTree.SubElement(target, "g")
    if group.find("defs") is not None:
        made = _markers(group, together)
    else:
        made = [_path(path, together) for path in group.iter("path")]
    for shape, policy in zip(made, policies.split(","), strict=True):
        if shape is not None:
            shape.attrib["data-p"] = f"{run}-{policy}"
    _share_paint(together)


def _share_paint(group: ElementTree.Element) -> None:
    """Say once, on the group, what all its shapes have alike: hundreds of points stay small."""
    for key in sorted(_ATTRIBUTES):
        values = {shape.attrib.get(key) for shape in group}
        if len(values) == 1 and None not in values:
            for shape in group:
                group.attrib[key] = shape.attrib.pop(key)


def _markers(group: ElementTree.Element, target: ElementTree.Element) -> list[ElementTree.Element]:
    """Every use of a marker as a shape of its own: a circle where it is round, else its outline moved there."""
    shapes = {path.attrib["id"]: path for path in group.iter("path") if "id" in path.attrib}
    return [_marker(shapes[use.attrib[_HREF][1:]], use, target) for use in group.iter("use")]


def _marker(
    shape: ElementTree.Element, use: ElementTree.Element, target: ElementTree.Element
) -> ElementTree.Element:
    outline = shape.attrib["d"]
    paint = _paint(shape.attrib.get("style", "")) | _paint(use.attrib.get("style", ""))
    x, y = (_short(use.attrib[key]) for key in "xy")
    if "C" in outline:
        radius = max(abs(float(v)) for v in re.findall(r"-?\d+\.?\d*", outline))
        place = {"cx": x, "cy": y, "r": _short(str(radius))}
        return ElementTree.SubElement(target, "circle", place | paint)
    place = {"d": _outline(outline), "transform": f"translate({x} {y})"}
    return ElementTree.SubElement(target, "path", place | paint)


def _path(path: ElementTree.Element, target: ElementTree.Element) -> ElementTree.Element | None:
    paint = _paint(path.attrib.get("style", ""))
    if paint.get("fill", "#000") == "none" and "stroke" not in paint:
        return None
    return ElementTree.SubElement(target, "path", {"d": _outline(path.attrib["d"]), **paint})


def _text(source: ElementTree.Element, target: ElementTree.Element) -> None:
    attributes = {key: _short(source.attrib[key]) for key in "xy" if key in source.attrib}
    turn = source.attrib.get("transform", "")
    if turn and not turn.startswith("rotate(-0 "):
        attributes["transform"] = re.sub(r"-?\d+\.\d+", lambda found: _short(found.group()), turn)
    element = ElementTree.SubElement(target, "text", {**attributes, **_paint(source.attrib.get("style", ""))})
    element.text = source.text


def _paint(style: str) -> dict[str, str]:
    """A style attribute as presentation attributes, colours as the page's variables.

    Attributes, because the page's security policy allows no inline style.
    """
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    return {key.strip(): variable(value.strip()) for key, value in pairs if key.strip() in _ATTRIBUTES}


def _outline(path: str) -> str:
    return " ".join(re.sub(r"-?\d+\.\d+", lambda found: _short(found.group()), path).split())


def _short(figure: str) -> str:
    """A coordinate to a tenth of a pixel."""
    short = f"{float(figure):.1f}".removesuffix(".0")
    return "0" if short == "-0" else short
