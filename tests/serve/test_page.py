"""The page in a real browser: what it asks, what it shows, what the keyboard and a screen reader reach."""

from __future__ import annotations

import warnings

import pytest

from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest
from tests.bench.browser import Browser, found
from tests.models import adapters_by_hand as by_hand
from tests.serve.conftest import serving
from tests.serve.test_agents import sea

__all__ = ["sea"]

if found() is None:
    warnings.warn(
        "NO CHROMIUM: the page is not driven; every test of tests/serve/test_page.py is skipped", stacklevel=1
    )

pytestmark = pytest.mark.skipif(
    found() is None, reason="no chromium, chromium-browser or google-chrome on PATH: THE PAGE IS NOT TESTED"
)

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><b>bold</b> "


@pytest.fixture(scope="module")
def browser():
    with Browser(found()) as opened:
        yield opened


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A server of three adapters for three objectives, whose replies hold markup."""
    folder = tmp_path_factory.mktemp("three")
    by_hand.write_reference(folder / "prerequisites" / "base")
    objectives, records = Objectives(["helpful", "harmless", "brief"]), []
    for k, name in enumerate(objectives.names):
        by_hand.write_ours(folder / "policies" / name, k)
        corner = {n: float(n == name) for n in objectives.names}
        files = manifest.digests(folder / "policies" / name)
        needs = {"needs": {"reference": "prerequisites/base"}}
        records.append(PolicyRecord(name, "adapter", corner, corner, files=files, facts=needs))
    with serving(PolicySet(folder, tuple(records), objectives)) as client:
        yield client


class Hostile:
    """A tokenizer whose every token is markup."""

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def decode(self, ids, **options):
        return HOSTILE * len(ids)


def opened(browser, client, width=1280, dark=False):
    browser.open(f"http://127.0.0.1:{client.port}/", width, 900, dark)
    until(browser, "document.querySelectorAll('#chart [role=button]').length")
    return browser


def until(browser, expression, limit_s=20.0):
    """Wait for something to become true in the page."""
    for _ in range(int(limit_s / 0.05)):
        if value := browser.evaluate(expression):
            return value
        browser._receive(lambda message: False, 0.05)
    raise AssertionError(f"waited in vain for {expression}; errors: {browser.errors()}")


def quiet(browser, client):
    """No error of any kind, and no request to anywhere else."""
    assert browser.errors() == []
    asked = browser.requests()
    assert asked
    assert [url for url in asked if not url.startswith(f"http://127.0.0.1:{client.port}/")] == []


def asked_of(client, monkeypatch):
    """Wishes that reach the server from now on."""
    wishes, real = [], client.service.menu.serve
    monkeypatch.setattr(client.service.menu, "serve", lambda wish: (wishes.append(wish), real(wish))[1])
    return wishes


def test_two_panes_ask_with_their_own_weights_and_the_same_seed(browser, tiny, monkeypatch):
    page, wishes = opened(browser, tiny), asked_of(tiny, monkeypatch)
    page.evaluate(
        "document.querySelector('#prompt').value = 'the cat'; document.querySelector('#longest').value = '6'"
    )
    page.evaluate("document.querySelector('#w-a-0').focus()")
    for _ in range(5):
        page.press("ArrowRight", 39)
    assert page.evaluate("[...document.querySelectorAll('#pane-a output')].map(o => o.value)") == [
        "0.85",
        "0.15",
    ]
    assert (
        page.evaluate("document.querySelector('#w-a-1').getAttribute('aria-valuetext')") == "brief 15 percent"
    )
    page.evaluate("document.querySelector('#go').click()")
    until(page, "document.querySelectorAll('#history tbody tr').length == 2")
    asked = sorted(tuple(wish.weights.values()) for wish in wishes)
    assert asked == [(0.2, 0.8), (0.85, 0.15)]
    for key, weights in (("a", {"helpful": 0.85, "brief": 0.15}), ("b", {"helpful": 0.2, "brief": 0.8})):
        fields = {"weights": weights}
        want = tiny.post(
            "/v1/chat/completions",
            {
                "model": "tiny",
                "messages": [{"role": "user", "content": "the cat"}],
                "max_tokens": 6,
                "seed": 0,
                "pareto": fields,
            },
        )[1]
        assert (
            page.evaluate(f"document.querySelector('#reply-{key}').textContent")
            == want["choices"][0]["message"]["content"]
        )
    assert "soup: 0.7 × h + 0.3 × half" in page.evaluate("document.querySelector('#facts-a').textContent")
    assert page.evaluate("document.querySelectorAll('#chart .mark').length") == 2
    quiet(page, tiny)


def test_a_policy_on_the_picture_sets_the_dial_and_a_query_finds_one(browser, tiny):
    page = opened(browser, tiny)
    page.evaluate("document.querySelectorAll('#chart [role=button]')[1].focus()")
    assert "policy half: helpful 0.5, brief 0.5" in page.evaluate(
        "document.querySelector('#chart-says').textContent"
    )
    page.press("Enter", 13)
    assert page.evaluate("[...document.querySelectorAll('#pane-a output')].map(o => o.value)") == [
        "0.5",
        "0.5",
    ]
    page.evaluate(
        "document.querySelector('#query').value = 'max brief'; document.querySelector('#find').click()"
    )
    until(page, "document.querySelector('#pane-a output').value == '0'")
    page.evaluate("document.querySelector('#query').value = 'fast'; document.querySelector('#find').click()")
    until(page, "document.querySelector('#found').textContent.startsWith('expected a query')")
    assert [e for e in page.errors() if "400" not in e] == []


def test_a_triangle_for_three_and_markup_stays_text(browser, three, monkeypatch):
    lane = three.service.menu.lanes()[0]
    monkeypatch.setattr(lane, "tokenizer", Hostile(lane.tokenizer))
    page, wishes = opened(browser, three), asked_of(three, monkeypatch)
    page.evaluate(
        "document.querySelector('#prompt').value = '<i>the</i> cat'; document.querySelector('#longest').value = '3'"
    )
    page.evaluate("document.querySelector('#pane-a .triangle').focus()")
    page.press("Home", 36)
    page.press("ArrowUp", 38)  # a third and 0.02 for the first; the others share the rest
    text = page.evaluate("document.querySelector('#pane-a .triangle').getAttribute('aria-valuetext')")
    assert text == "helpful 0.35, harmless 0.32, brief 0.32"
    box = page.evaluate(
        "(() => { const b = document.querySelector('#pane-b .triangle').getBoundingClientRect(); return [b.left, b.top, b.width]; })()"
    )
    at = {
        "x": box[0] + box[2] / 2,
        "y": box[1] + box[2] * (22 + 2 * (170 - 22) / 3) / 200,
    }  # the middle of the triangle
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)
    page.evaluate("document.querySelector('#go').click()")
    until(page, "document.querySelectorAll('#history tbody tr').length == 2")
    first, second = sorted((list(wish.weights.values()) for wish in wishes), key=lambda w: -w[0])
    assert first == pytest.approx([1 / 3 + 0.02, 0.3233, 0.3233], abs=1e-3)
    assert second == pytest.approx([1 / 3] * 3, abs=0.02)
    assert page.evaluate("document.querySelector('#reply-a').textContent") == HOSTILE * 3
    assert (
        page.evaluate("document.querySelectorAll('#reply-a *, #history b, #history i, #history img').length")
        == 0
    )
    assert "taken" not in page.evaluate("document.title")
    quiet(page, three)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_at_360_pixels(browser, three, dark):
    page = opened(browser, three, width=360, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(20, 23, 26)" if dark else "rgb(253, 253, 251)")


@pytest.mark.parametrize("which", ["tiny", "three", "sea"])
def test_everything_that_can_be_used_has_a_name_and_is_reached_by_tab(browser, request, which):
    page = opened(browser, request.getfixturevalue(which))
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "textbox", "spinbutton", "checkbox", "combobox", "link", "log", "searchbox"}
    usable = [n for n in nodes if not n.get("ignored") and n["role"]["value"] in roles]
    assert len(usable) > 10
    assert [n["role"]["value"] for n in usable if not n.get("name", {}).get("value")] == []
    assert {"main", "banner", "contentinfo"} <= {n["role"]["value"] for n in nodes if not n.get("ignored")}
    wanted = page.evaluate(
        "[...document.querySelectorAll('a,button,input,select,textarea,summary,[tabindex=\"0\"]')].filter(e => e.checkVisibility() && !e.disabled).length"
    )
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(wanted + 3):
        page.press("Tab", 9)
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached - {-1}) >= wanted


def test_a_token_is_asked_for_and_kept_in_the_tab(browser, adapter_run):
    with serving(adapter_run, tokens={"0123456789abcdef": None}) as client:
        browser.open(f"http://127.0.0.1:{client.port}/", 1280, 900)
        until(browser, "!document.querySelector('#key').hidden")
        for given in ("wrong", "0123456789abcdef"):
            browser.evaluate(
                f"document.querySelector('#token').value = '{given}'; document.querySelector('#key button').click()"
            )
            if given == "wrong":
                until(browser, "document.querySelector('#trouble').textContent.includes('token')")
        until(browser, "document.querySelectorAll('#chart [role=button]').length == 3")
        assert browser.evaluate(
            "document.querySelector('#key').hidden && document.querySelector('#trouble').hidden"
        )
        browser.evaluate(
            "document.querySelector('#prompt').value = 'rain'; document.querySelector('#go').click()"
        )
        until(browser, "document.querySelectorAll('#history tbody tr').length == 2")
        browser.evaluate("document.querySelector('#history button').click()")
        until(browser, "document.querySelector('#copied').textContent.length")
        said = browser.evaluate("document.querySelector('#copied').textContent")
        assert said == "Copied." or (
            "curl " in said and "0123456789abcdef" not in said and "$PARETO_TOKEN" in said
        )


def test_a_reply_can_be_stopped(browser, adapter_run, monkeypatch):
    with serving(adapter_run) as client:
        page = opened(browser, client)
        lane = client.service.menu.lanes()[0]
        real = lane.model.forward

        def slowly(**inputs):
            import time

            time.sleep(0.05)
            return real(**inputs)

        lane.model.forward = slowly
        page.evaluate(
            "document.querySelector('#prompt').value = 'rain'; document.querySelector('#longest').value = '100'; document.querySelector('#go').click()"
        )
        client.wait(lambda: client.service.scheduler.running == 2)
        page.evaluate("document.querySelector('#stop').click()")
        client.wait(lambda: client.service.scheduler.running == 0)
        assert client.service.metrics.disconnects == 2
        assert page.errors() == []


def test_an_agent_is_picked_and_watched(browser, sea):
    page = opened(browser, sea)
    assert page.evaluate(
        "document.querySelector('#dial-part').hidden && !document.querySelector('#watch-part').hidden"
    )
    page.evaluate(
        "document.querySelector('#query').value = 'max treasure'; document.querySelector('#find').click()"
    )
    until(page, "document.querySelector('#found').textContent.length")
    picked = sea.post("/v1/pareto/select", {"at": "max treasure"})[1]["policy"]["id"]
    assert page.evaluate("document.querySelector('#agent').value") == picked
    page.evaluate("document.querySelector('#watch .go').click()")
    until(page, "!document.querySelector('#episode').hidden")
    assert picked in page.evaluate("document.querySelector('#episode-says').textContent")
    page.evaluate(
        "document.querySelector('#play').textContent == 'Pause' && document.querySelector('#play').click()"
    )
    page.evaluate("document.querySelector('#step').focus()")
    page.press("End", 35)
    says = page.evaluate("document.querySelector('#step-says').textContent")
    last = page.evaluate("Number(document.querySelector('#step').max) + 1")
    assert says.startswith(f"step {last} of {last} · saw [")
    quiet(page, sea)
