"""Pictures of the page over run folders: python tests/bench/serve_shots.py RUN...

For every run: reports/screenshots/serve_<study>_<width>_<theme>.png at 1280 pixels in light and 360 in dark, after both panes
have answered (texts) or an episode was played (agents). Ends with 1 where the page reported an error, asked for anything of
another host, or is wider than its window.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from tests.bench.browser import Browser, found
from tests.bench.serving import Server, serving

OUT = Path(__file__).parents[2] / "reports" / "screenshots"
TEXTS = "document.querySelectorAll('#history tbody tr').length >= 2"
AGENTS = "!document.querySelector('#episode').hidden"


def until(browser: Browser, expression: str) -> None:
    for _ in range(1200):
        if browser.evaluate(expression):
            return
        browser._receive(lambda message: False, 0.1)
    raise RuntimeError(f"waited in vain for {expression}")


def shots(browser: Browser, server: Server) -> list[str]:
    front, faults = server.get("/v1/pareto/front"), []
    for width, dark in ((1280, False), (360, True)):
        browser.open(f"http://127.0.0.1:{server.port}/", width, 900, dark)
        until(browser, "document.querySelectorAll('#chart [role=button]').length")
        acts = front["kind"] == "agent"
        button = "#watch .go" if acts else "#go"
        browser.evaluate(f"document.querySelector('{button}').click()")
        until(browser, AGENTS if acts else TEXTS)
        height = browser.evaluate("document.documentElement.scrollHeight")
        faults += browser.errors()
        faults += [
            url for url in browser.requests() if not url.startswith(f"http://127.0.0.1:{server.port}/")
        ]
        if browser.evaluate("document.documentElement.scrollWidth") > width:
            faults.append(f"wider than {width}")
        picture = Image.open(io.BytesIO(browser.screenshot(0, height, width))).convert("RGB").quantize(96)
        OUT.mkdir(parents=True, exist_ok=True)
        picture.save(OUT / f"serve_{front['name']}_{width}_{'dark' if dark else 'light'}.png", optimize=True)
    return faults


def main() -> int:
    program = found()
    if program is None:
        print("no chromium on PATH: no picture taken")
        return 1
    faults: list[str] = []
    with Browser(program) as browser:
        for run in sys.argv[1:]:
            with serving(run) as server:
                faults += shots(browser, server)
    print("\n".join(faults) or "no faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
