import re
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
import moocore
import numpy as np
import pytest

from pareto.objectives import Objective, Objectives
from pareto.report import Report, canvas, figures
from pareto.report.measuring import objectives_of
from pareto.rng import generator


def area(outline: np.ndarray) -> float:
    """Shoelace."""
    x, y = outline.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def drawn(fig: matplotlib.figure.Figure) -> ElementTree.Element:
    return ElementTree.fromstring(canvas.inline(fig, "a label"))


@pytest.mark.parametrize("case", range(10))
def test_the_shaded_area_is_the_hypervolume(case: int) -> None:
    points = generator("area", case).integers(-2, 9, (8, 2)).astype(float)
    expected = float(moocore.hypervolume(points, ref=[0.0, 0.0], maximise=True))
    assert area(figures.staircase(Objectives(["a", "b"]), points.tolist(), [0.0, 0.0])) == pytest.approx(
        expected
    )


def test_the_shaded_area_in_own_directions() -> None:
    objectives = Objectives([Objective("a"), Objective("b", "min")])
    outline = figures.staircase(objectives, [[1.0, 3.0], [2.0, 8.0]], [0.0, 10.0])
    assert area(outline) == pytest.approx(1 * 7 + 1 * 2)
    assert outline[:, 1].max() == 10.0


def test_every_policy_is_drawn_once_and_where_it_belongs(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]
    with canvas.theme():
        root = drawn(figures.front(0, run, objectives_of(run), 880, 500))
    circles = {c.attrib["data-p"]: c for c in root.iter("circle") if "data-p" in c.attrib}
    assert sorted(circles) == sorted(f"0-{i}" for i in range(len(run.policies)))
    places = np.array(
        [[float(circles[f"0-{i}"].attrib[k]) for k in ("cx", "cy")] for i in range(len(run.policies))]
    )
    values = np.array([p.values for p in run.policies])
    for k, sign in ((0, 1), (1, -1)):  # pixels grow to the right and downwards
        slope, _ = np.polyfit(values[:, k], places[:, k], 1)
        assert slope * sign > 0
        assert np.corrcoef(values[:, k], places[:, k])[0, 1] * sign > 0.999999


def test_better_is_up_also_when_less_is_better(report: Callable[..., Report]) -> None:
    run = report("minimised", names=("helpful", "tokens")).runs[0]
    with canvas.theme():
        root = drawn(figures.front(0, run, objectives_of(run), 880, 500))
    height = {c.attrib["data-p"]: float(c.attrib["cy"]) for c in root.iter("circle") if "data-p" in c.attrib}
    tokens = {f"0-{i}": p.values[1] for i, p in enumerate(run.policies)}
    fewest, most = min(tokens, key=tokens.__getitem__), max(tokens, key=tokens.__getitem__)
    assert height[fewest] < height[most]
    assert any("less is better" in (t.text or "") for t in root.iter("text"))


def test_everything_lies_inside_the_figure(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]
    with canvas.theme():
        root = drawn(figures.front(0, run, objectives_of(run), 344, 330))
    for circle in root.iter("circle"):
        assert 0 < float(circle.attrib["cx"]) < 344
        assert 0 < float(circle.attrib["cy"]) < 330


def test_parallel_coordinates_have_a_line_a_policy_and_axes_to_brush(report: Callable[..., Report]) -> None:
    run = report("m6", m=6, n=12, units=16).runs[0]
    with canvas.theme():
        fig, axes_at = figures.parallel(0, run, objectives_of(run), 880, 500)
        root = drawn(fig)
    xs, top, bottom = axes_at.split(";")
    lines = {p.attrib["data-p"]: p.attrib["d"] for p in root.iter("path") if "data-p" in p.attrib}
    assert len(lines) == len(run.policies)
    oriented = objectives_of(run).orient([p.values for p in run.policies])
    scaled = (oriented - oriented.min(axis=0)) / np.ptp(oriented, axis=0)
    for i in range(len(run.policies)):
        points = np.array(re.findall(r"-?[\d.]+", lines[f"0-{i}"]), dtype=float).reshape(-1, 2)
        np.testing.assert_allclose(points[:, 0], [float(x) for x in xs.split(",")], atol=0.11)
        np.testing.assert_allclose(
            points[:, 1], float(bottom) - scaled[i] * (float(bottom) - float(top)), atol=0.11
        )


def test_colours_follow_the_page_and_nothing_can_clash_with_it(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]
    with canvas.theme():
        svg = canvas.inline(figures.front(0, run, objectives_of(run), 880, 500), "a <label>")
    assert re.findall(r"#[0-9a-fA-F]{3,8}", svg) == []
    assert not re.search(r"\b(id|style|clip-path|href|class)=", svg)
    assert 'aria-label="a &lt;label&gt;"' in svg
    assert "var(--accent)" in svg


def test_the_users_matplotlib_settings_change_nothing(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]

    def draw() -> str:
        with canvas.theme():
            return canvas.inline(figures.front(0, run, objectives_of(run), 880, 500), "x")

    before = draw()
    with matplotlib.rc_context(
        {"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path", "lines.marker": "x"}
    ):
        assert draw() == before


@pytest.mark.parametrize("name", ["$x_1$ & <b>", "\x01\x1f\ufffe", "名前 🙂", "a" * 300, "%s {0} \\frac"])
def test_any_name_can_be_drawn(report: Callable[..., Report], name: str) -> None:
    from dataclasses import replace

    run = report("ordinary").runs[0]
    renamed = replace(run, objectives=[replace(run.objectives[0], name="".join(filter(str.isprintable, name)) or "x"), run.objectives[1]])  # fmt: skip
    with canvas.theme():
        root = drawn(figures.front(0, renamed, objectives_of(renamed), 880, 500))
    assert len(canvas.text(name)) <= 30
    assert canvas.text("\x01\x1f\ufffe") == "\ufffd" * 3
    assert root.tag == "svg"


def test_limits_are_never_empty() -> None:
    for values in ([3.0], [0.0, 0.0], [-1.0, 2.0]):
        low, high = canvas.limits(values)
        assert low < min(values) <= max(values) < high


def test_a_picture_of_its_own_holds_its_colours_and_no_page_variables(report: Callable[..., Report]) -> None:
    run = report("ordinary").runs[0]
    with canvas.theme():
        picture = canvas.standalone(figures.front(0, run, objectives_of(run), 640, 420))
    root = ElementTree.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in picture
    assert canvas.ACCENT in picture
    assert canvas.HAIR in picture  # the theme's grid, not matplotlib's box
