import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pareto.report import Report, build, read_run, render
from tests.report.synthetic import write_run

VOID = {"meta", "link", "input", "br", "hr", "img", "col", "base"}
HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>'\"&amp;{{data}}{{main}}"


class Page(HTMLParser):
    """Every element, that all are closed in order, and the text inside some."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in <{tag}>"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    def edit(front: dict[str, Any]) -> None:
        front |= {"context": {HOSTILE: HOSTILE}, "task": HOSTILE, "ref_point_rule": HOSTILE}
        front["quarantined"] = [{"id": HOSTILE, "why": HOSTILE}]
        front["failed"] = [{"cell": HOSTILE, "why": HOSTILE}]
        front["provenance"] = {"versions": {HOSTILE: HOSTILE}, HOSTILE: HOSTILE}
        front["exact"]["source"] = HOSTILE
        for policy in front["policies"]:
            policy["groups"] = {HOSTILE: HOSTILE}

    name = (
        HOSTILE.replace("=", ":").replace("/", "-").replace(",", "")
    )  # what an objective or a folder may be called
    objective = HOSTILE.replace("=", "")
    return build(
        [
            read_run(
                write_run(
                    tmp_path_factory.mktemp("hostile") / name,
                    n=5,
                    units=16,
                    names=(objective, f"{objective}2"),
                    study=HOSTILE,
                    method=HOSTILE,
                    prompts=(HOSTILE, "plain"),
                    phrases=(HOSTILE, "<b>bold</b>", "\u2028<!--"),
                    edit=edit,
                )
            )
        ]
    )


@pytest.fixture(scope="module")
def pages(report: Callable[..., Report], folder: Callable[..., Path]) -> dict[str, str]:
    few = {"n": 5, "units": 16}
    several = build(
        [read_run(folder("five", **few)), read_run(folder("five-cheap", drift=0.9, method="soup", **few))]
    )
    return {
        "one": render(report("ordinary")),
        "six": render(report("m6", m=6, n=12, units=16)),
        "three": render(report("m3", m=3, n=8, units=16)),
        "seeds": render(report("seeds", seeds=3)),
        "imported": render(report("imported", sparse=True, exact=False)),
        "several": render(several),
    }


def test_structure(pages: dict[str, str]) -> None:
    for source in pages.values():
        page = Page(source)
        assert source.startswith("<!doctype html>")
        assert page.all("html")[0]["lang"] == "en"
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
        levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in pairwise(levels)), "a heading level is skipped"
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids))
        for _, attributes in page.elements:
            for key in ("aria-labelledby", "for"):
                assert attributes.get(key, ids[0]) in ids
        for link in page.all("a"):
            assert (link["href"] or "")[1:] in ids


def test_accessible(pages: dict[str, str]) -> None:
    for source in pages.values():
        page = Page(source)
        for svg in page.all("svg"):
            assert svg.get("aria-hidden") == "true" or (svg.get("role") == "img" and svg.get("aria-label"))
        assert all(th.get("scope") in ("col", "row", "colgroup") for th in page.all("th"))
        assert len(page.all("caption")) == len(page.all("table"))
        assert all(b.get("type") == "button" for b in page.all("button"))
        scrolling = [a for tag, a in page.elements if tag == "div" and a.get("class") == "scroll"]
        assert len(scrolling) == len(page.all("table"))
        assert all(a.get("tabindex") == "0" and a.get("role") == "region" for a in scrolling)
        rows = [tr for tr in page.all("tr") if "data-p" in tr]
        assert sum(tr.get("tabindex") == "0" for tr in rows) == len([t for t in page.all("table") if t.get("class") == "policies"])  # fmt: skip


def test_nothing_is_fetched(pages: dict[str, str], hostile: Report) -> None:
    for source in [*pages.values(), render(hostile)]:
        page = Page(source)
        for tag, attributes in page.elements:
            assert tag not in (
                "img",
                "iframe",
                "object",
                "embed",
                "video",
                "audio",
                "base",
                "form",
                "image",
                "use",
            )
            for key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"):
                value = attributes.get(key)
                assert value is None or value.startswith("#") or value == "data:,", (tag, key, value)
            assert not any(key.startswith("on") or key == "style" for key in attributes)
        style = "".join(page.texts["style"])
        assert not re.search(r"url\(|@import|http", style)
        assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|import\(|http://(?!www\.w3\.org/2000/svg)", "".join(page.texts["script"]).split('"use strict"')[1])  # fmt: skip


def test_the_policy_allows_this_style_and_this_script_alone(pages: dict[str, str]) -> None:
    page = Page(pages["one"])
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.texts[kind][-1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_hostile_names_and_texts_stay_text(hostile: Report) -> None:
    source = render(hostile)
    page = Page(source)
    assert len(page.all("script")) == 2
    assert page.all("img") == page.all("b") == []
    assert HOSTILE in "".join(page.texts["title"])
    assert any(HOSTILE in text for text in page.texts["blockquote"])
    assert any(HOSTILE in text for text in page.texts["td"])
    data = next(text for text in page.texts["script"] if text.startswith("{"))
    assert not set(data) & set("<>&\u2028\u2029")
    assert json.loads(data) == json.loads(hostile.dumps())


def test_the_data_is_in_the_page(report: Callable[..., Report], pages: dict[str, str]) -> None:
    made = report("ordinary")
    page = Page(pages["one"])
    embedded = Report.from_json(json.loads(next(t for t in page.texts["script"] if t.startswith("{"))))
    assert embedded == made


def test_the_same_run_gives_the_same_bytes(folder: Callable[..., Path], pages: dict[str, str]) -> None:
    once, again = (build([read_run(folder("seeds", seeds=3))]) for _ in range(2))
    assert once.dumps() == again.dumps()
    assert render(again) == pages["seeds"]


def test_two_hundred_policies_of_six_objectives_stay_under_a_megabyte(tmp_path: Path) -> None:
    made = build([read_run(write_run(tmp_path / "large", m=6, n=200, units=8))])
    assert len(made.runs[0].policies) == 200
    source = render(made)
    assert len(source.encode()) < 1_000_000
    assert len([tr for tr in Page(source).all("tr") if "data-p" in tr]) == len(made.runs[0].policies)


def test_the_verdict_comes_first(report: Callable[..., Report], pages: dict[str, str]) -> None:
    source = pages["one"]
    after_contents = source.index("<main")
    figure = report("ordinary").runs[0].verdict.headline.split()[1].rstrip(",")
    starts = [source.index(text, after_contents) for text in (figure, "Reference point", ">The front<", ">Requested weight, delivered value<", ">Policies<", ">Texts along the front<", ">Quarantined and failed<", ">Cost<", ">Provenance<")]  # fmt: skip
    assert starts == sorted(starts)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_of_text_and_of_marks(theme: int) -> None:
    """WCAG 2.2: 4.5 for text, 3 for what a figure cannot be read without."""
    style = (files("pareto.report") / "assets" / "style.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", style.split(":root {")[1 + theme]))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(colours[a]), luminance(colours[b])))
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "muted", "accent"):
        for ground in ("paper", "wash"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    for run in range(6):
        assert contrast(f"run{run}", "paper") >= 3


def test_the_pages_parts_ship_with_the_package() -> None:
    names = {part.name for part in (files("pareto.report") / "assets").iterdir()}
    assert names == {"page.html", "style.css", "script.js", "interactive.js"}
