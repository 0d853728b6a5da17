"""Figures to turn and zoom: plain data with every policy where it belongs, one library, nothing fetched."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import UsageError
from pareto.report import Report, build, interactive, read_run, render
from tests.report.test_page import HOSTILE, Page

LIBRARY = "window.Plotly = {};"
"""Stands for plotly's script, which is 5 MB."""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "library", lambda: LIBRARY)


def traces(report: Report, place: int = 0) -> list[dict[str, Any]]:
    return interactive.figures(report)[place][1]["data"]


def test_every_policy_stands_where_it_was_measured(report: Callable[..., Report]) -> None:
    made = report("m3", m=3, n=8, units=16)
    drawn = {t["name"]: t for t in traces(made)}
    for name, best in (("not dominated", True), ("dominated", False)):
        rows = [p for p in made.runs[0].policies if p.non_dominated == best]
        found = drawn.get(name, {"x": [], "y": [], "z": []})
        assert list(map(list, zip(*(found[axis] for axis in "xyz")))) == [p.values for p in rows]
    exact = made.runs[0].exact
    assert exact is not None
    assert len(drawn["exact front"]["x"]) == len(exact.front)


def test_weights_stand_at_the_corners_of_the_still_triangle(report: Callable[..., Report]) -> None:
    made = report("m3", m=3, n=8, units=16)
    (trace,) = traces(made, 1)
    asked = [p.weights for p in made.runs[0].policies if p.weights is not None]
    assert list(map(list, zip(trace["b"], trace["c"], trace["a"]))) == asked  # left, right, top
    assert trace["marker"]["color"] == [p.contribution for p in made.runs[0].policies]


def test_of_six_objectives_any_three_can_be_chosen(report: Callable[..., Report]) -> None:
    made = report("m6", m=6, n=12, units=16)
    ((_, figure),) = interactive.figures(made)
    menus = figure["layout"]["updatemenus"]
    assert [len(menu["buttons"]) for menu in menus] == [6, 6, 6]
    data, layout = menus[1]["buttons"][5]["args"]  # y: tokens, of which less is better
    best = [p for p in made.runs[0].policies if p.non_dominated]
    assert data["y"][0] == [p.values[5] for p in best]
    assert layout["scene.yaxis.autorange"] == "reversed"


def test_below_three_objectives_there_is_nothing_to_turn(
    report: Callable[..., Report], library: None
) -> None:
    made = report("ordinary")
    assert interactive.figures(made) == []
    assert render(made, interactive=True) == render(made)  # and the library stays out


def test_several_runs_share_one_figure(folder: Callable[..., Path]) -> None:
    few = {"m": 3, "n": 8, "units": 16}
    made = build([read_run(folder("turn-a", **few)), read_run(folder("turn-b", drift=0.9, **few))])
    figures = interactive.figures(made)
    assert len(figures) == 3  # one front, two triangles
    assert {t["name"] for t in figures[0][1]["data"]} >= {"turn-a", "turn-b"}
    assert len({t["marker"]["symbol"] for t in figures[0][1]["data"]}) == 2


def test_one_page_that_fetches_nothing(report: Callable[..., Report], library: None) -> None:
    source = render(report("m3", m=3, n=8, units=16), interactive=True)
    page = Page(source)
    assert source.count(LIBRARY) == 1
    assert not any("src" in script for script in page.all("script"))
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    scripts = policy.split("script-src ")[1].split(";")[0]
    assert "unsafe" not in scripts
    assert f"sha256-{base64.b64encode(hashlib.sha256(LIBRARY.encode()).digest()).decode()}" in scripts
    spaces = [div for div in page.all("div") if div.get("class") == "turning"]
    assert [s["data-figure"] for s in spaces] == ["0", "1"]
    assert all(s["role"] == "img" and s["aria-label"] for s in spaces)
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', source)
    assert found is not None
    assert len(json.loads(found.group(1))) == 2


def test_names_are_text_to_plotly_too() -> None:
    shown = interactive._plain(f"{HOSTILE}$x$"[-60:])
    assert not set(shown) & set("<>$")
    assert interactive._plain("a<b") == "a&lt;b"


def test_without_plotly_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactive, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pareto-align\[interactive\]"):
        interactive.library()


def test_the_real_library_comes_in_one_piece() -> None:
    pytest.importorskip("plotly", reason="the extra `interactive` is not installed")
    script = interactive.library()
    assert "</script" not in script  # it could not be embedded otherwise
    assert len(script) > 1_000_000
