"""Does a large report build fast and open clean? Program: python tests/bench/bench_report.py

Builds pages of synthetic runs (200 policies of six objectives among them), opens each in a headless Chromium at two widths
and in both themes, and writes reports/front/report.json and .md: seconds, bytes, errors, requests, what overflows, what the
keyboard reaches. Without a Chromium on the machine only the building is measured. With --shots it takes pictures of given
run folders instead: reports/screenshots/<run>_<width>_<theme>.png.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the synthetic runs of the tests

from pareto.report import build, read_run, render  # noqa: E402
from tests.bench.browser import Browser, found  # noqa: E402
from tests.report.synthetic import write_run  # noqa: E402

REPORTS = ROOT / "reports"
VIEWS = [(width, dark) for width in (360, 1440) for dark in (False, True)]
LIMIT_S, LIMIT_BYTES = 10.0, 1_000_000

Runs = Callable[[Path], list[Path]]

PAGES: dict[str, tuple[Runs, bool]] = {
    "200 policies x 6 objectives": (lambda at: [write_run(at / "large", m=6, n=200, units=64)], False),
    "9 policies x 2 objectives": (lambda at: [write_run(at / "two", m=2, n=9)], False),
    "13 policies x 3 objectives": (lambda at: [write_run(at / "three", m=3, n=13)], False),
    "3 methods x 4 seeds, 2 objectives": (
        lambda at: [
            write_run(at / method, m=2, n=6, seeds=4, drift=drift, method=method)
            for method, drift in (("modpo", 1.0), ("soup", 0.9), ("mod", 1.1))
        ],
        False,
    ),
    "13 policies x 3 objectives, interactive": (lambda at: [write_run(at / "turn", m=3, n=13)], True),
    "200 policies x 6 objectives, interactive": (
        lambda at: [write_run(at / "turn6", m=6, n=200, units=64)],
        True,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shots", nargs="+", type=Path, metavar="RUN", help="take pictures of these run folders' reports"
    )
    parser.add_argument("--height", type=int, default=2600, help="of a picture, pixels")
    parser.add_argument("--together", action="store_true", help="one picture set of all runs compared")
    parser.add_argument("--interactive", action="store_true", help="pictures of the interactive page")
    parser.add_argument("--name", help="of the pictures; default: the run folder's")
    parser.add_argument("--views", nargs="+", default=["360_light", "1440_dark"], metavar="WIDTH_THEME")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.shots:
            sets = [args.shots] if args.together else [[run] for run in args.shots]
            for runs in sets:
                shoot(runs, args.name or runs[0].name, Path(scratch), args)
            return
        rows = [measure(name, Path(scratch)) for name in PAGES]
    document = {
        "format": 1,
        "machine": {"platform": platform.platform(), "python": platform.python_version(), "matplotlib": matplotlib.__version__,
                    "cores": os.cpu_count(), "load": os.getloadavg()[0]},
        "browser": None if found() is None else version(),
        "views": [f"{width} px, {'dark' if dark else 'light'}" for width, dark in VIEWS],
        "rows": rows,
    }  # fmt: skip
    (REPORTS / "front" / "report.json").write_text(json.dumps(document, indent=1) + "\n")
    (REPORTS / "front" / "report.md").write_text(markdown(document))
    bad = [row["page"] for row in rows if row["errors"] or row["requests"] or not row["within_limits"]]
    if bad:
        sys.exit(f"not as it should be: {', '.join(bad)}")


def measure(name: str, scratch: Path) -> dict:
    """Build one page, open it everywhere."""
    make, interactive = PAGES[name]
    folders = make(scratch)
    wall, cpu = time.perf_counter(), time.process_time()
    report = build([read_run(folder) for folder in folders])
    source = render(report, interactive)
    row = {
        "page": name,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "bytes": len(source.encode()),
        "open_s": [],
        "errors": [],
        "requests": [],
        "overflow_px": 0,
        "keyboard": None,
    }
    row["within_limits"] = row["cpu_s"] < LIMIT_S and (interactive or row["bytes"] < LIMIT_BYTES)
    print(
        f"{name}: built in {row['wall_s']:.2f} s ({row['cpu_s']:.2f} s of processor), {row['bytes']:,} bytes",
        flush=True,
    )
    program = found()
    if program is None:
        return row
    page = scratch / "page.html"
    page.write_text(source)
    with Browser(program) as browser:
        for width, dark in VIEWS:
            row["open_s"].append(browser.open(page, width, 900, dark, settle_s=1.5 if interactive else 0.3))
            row["errors"] += browser.errors()
            row["requests"] += browser.requests()
            wide = browser.evaluate("document.documentElement.scrollWidth")
            row["overflow_px"] = max(row["overflow_px"], wide - width)
        if not interactive:
            browser.open(page, 1440, 900)
            row["keyboard"] = keyboard(browser)
            row["errors"] += browser.errors()
    print(
        f"  opened in {max(row['open_s']):.2f} s at most; errors {row['errors']}, requests {row['requests']}",
        flush=True,
    )
    return row


def keyboard(browser: Browser) -> dict:
    """What can be done without a pointer."""
    browser.press("Tab", 9)
    skip = browser.evaluate("document.activeElement.className")
    browser.evaluate("document.querySelector('tr[data-p]').focus()")
    before = browser.evaluate("document.activeElement.dataset.p")
    browser.press("ArrowDown", 40)
    after = browser.evaluate("document.activeElement.dataset.p")
    browser.evaluate("document.querySelector('th[data-k] button').focus()")
    browser.press("Enter", 13)
    kept = None
    if browser.evaluate("document.querySelector('.brush input') !== null"):
        browser.evaluate("document.querySelector('.brush input').focus()")
        for _ in range(60):
            browser.press("ArrowRight", 39)
        kept = browser.evaluate("document.querySelector('.brush .left').textContent")
    return {
        "first stop skips to the report": skip == "skip",
        "arrows move along the rows": before != after,
        "policies left after 60 steps of the first slider": kept,
    }


def version() -> str:
    """Name and version of the browser."""
    program = found()
    assert program is not None
    with Browser(program) as browser:
        return browser.evaluate("navigator.userAgent").split("Chrome/")[-1].split(" ")[0]


def shoot(runs: list[Path], name: str, scratch: Path, args: argparse.Namespace) -> None:
    """Pictures of a report's beginning, in few colours so that they stay small."""
    from PIL import Image

    program = found()
    if program is None:
        sys.exit("no Chromium on this machine")
    page = scratch / "page.html"
    page.write_text(render(build([read_run(run) for run in runs]), args.interactive))
    with Browser(program) as browser:
        for view in args.views:
            width, theme = view.split("_")
            browser.open(page, int(width), 900, theme == "dark", settle_s=2.5 if args.interactive else 0.4)
            top = (
                browser.evaluate("document.querySelector('#interactive')?.offsetTop ?? 0")
                if args.interactive
                else 0
            )
            whole = browser.evaluate("document.documentElement.scrollHeight")
            shot = browser.screenshot(top, min(args.height, whole - top), int(width))
            picture = Image.open(io.BytesIO(shot)).convert("RGB").quantize(160, dither=Image.Dither.NONE)
            path = REPORTS / "screenshots" / f"{name}_{view}.png"
            picture.save(path, optimize=True)
            print(path, path.stat().st_size)


def markdown(document: dict) -> str:
    browser = document["browser"]
    lines = [
        "# Do reports build fast and open clean?",
        "",
        "Made by `python tests/bench/bench_report.py` from synthetic runs. "
        + ", ".join(f"{k}: {v}" for k, v in document["machine"].items()) + ".",
        f"Opened in Chromium {browser} at {'; '.join(document['views'])}." if browser else "No Chromium here: not opened.",
        "",
        f"Asked: under {LIMIT_S:.0f} s, under {LIMIT_BYTES:,} bytes without interactive figures, no error, no request, nothing "
        "wider than the screen. Building means reading the run folder, computing, drawing and writing HTML.",
        "",
        "| page | built, s | processor, s | bytes | opened, s | errors | requests | overflow, px |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in document["rows"]:
        opened = f"{max(r['open_s']):.2f}" if r["open_s"] else "-"
        lines.append(f"| {r['page']} | {r['wall_s']:.2f} | {r['cpu_s']:.2f} | {r['bytes']:,} | {opened} | {len(r['errors'])} | {len(r['requests'])} | {r['overflow_px']} |")  # fmt: skip
    keys = [(r["page"], r["keyboard"]) for r in document["rows"] if r["keyboard"]]
    if keys:
        lines += ["", "By keyboard alone:", ""]
        lines += [
            f"- {page}: {'; '.join(f'{k}: {v}' for k, v in done.items() if v is not None)}"
            for page, done in keys
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
