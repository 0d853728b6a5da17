"""Who may call, under which name, with what body: every route, before anything is done."""

from __future__ import annotations

import json
import socket

import pytest

from pareto.errors import UsageError
from pareto.serve.app import make_app
from pareto.serve.server import check
from pareto.serve.service import Service
from pareto.serve.settings import Settings
from tests.serve.conftest import serving

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def locked(adapter_run):
    tokens = {TOKEN: None, "another-token-here": {"helpful": 0.1, "brief": 0.9}}
    with serving(adapter_run, tokens=tokens, allow_hosts=("my.host",)) as client:
        yield client


def routes(client):
    """(method, path) of everything in the server's own description."""
    app = make_app(Service(client.service.run, client.service.settings)).app
    paths = app.openapi()["paths"]
    found = [(method.upper(), path.replace("{model}", "tiny")) for path in paths for method in paths[path]]
    assert len(found) > 8
    return found


def test_every_route_but_the_page_and_the_probes_needs_the_token(locked):
    for method, path in routes(locked):
        body = {} if method == "POST" else None
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": TOKEN},
        ):
            status, sent, answer = locked.send(method, path, body, headers)
            if path in ("/healthz", "/readyz"):
                assert status == 200
            else:
                assert (status, sent["www-authenticate"]) == (401, "Bearer"), (method, path, answer)
        status, *_ = locked.send(method, path, body, {"Authorization": f"Bearer {TOKEN}"})
        assert status in (200, 400), (method, path)
    assert locked.send("GET", "/openapi.json")[0] == 401
    assert locked.send("GET", "/")[0] == 200


def test_a_token_may_have_weights_of_its_own(locked):
    def used(token, **fields):
        asked = {"model": "tiny", "prompt": "a", "max_tokens": 1} | fields
        status, answer = locked.post("/v1/completions", asked, {"Authorization": f"Bearer {token}"})
        assert status == 200
        return answer["pareto"]["weights_used"]["helpful"]

    assert used(TOKEN) == 0.5
    assert used("another-token-here") == pytest.approx(0.1)
    assert used("another-token-here", model="tiny@helpful=1,brief=1") == 0.5


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "MY.host"}, 200),
        ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1"}, 200),
    ],
)
def test_hosts_and_origins(locked, headers, status):
    assert (
        locked.send("GET", "/v1/models", headers=headers | {"Authorization": f"Bearer {TOKEN}"})[0] == status
    )


def test_other_methods_are_refused_everywhere(tiny):
    for _, path in routes(tiny):
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FOO"):
            assert tiny.send(method, path)[0] == 405
    assert tiny.send("GET", "/v1/completions")[0] == 405
    assert tiny.send("POST", "/healthz", {})[0] == 405
    assert tiny.get("/nothing")[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b"[]", 400, "must be a JSON object"),
        (b'{"model": NaN}', 400, "NaN is no JSON"),
        (b'{"temperature": Infinity}', 400, "Infinity"),
        (b'{"model": "tiny", "prompt": "a", "temperature": 1e999}', 400, "temperature"),
        (b'{"a": 1, "a": 2}', 400, "twice"),
        (b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "nested 16 deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested too deeply"),
        (b"\xff\xfe", 400, "no JSON"),
        (b'{"a": "' + b"x" * (1 << 20) + b'"}', 413, "1048576 bytes"),
    ],
)
def test_bodies_that_are_not_read(tiny, body, status, words):
    got, answer = tiny.post("/v1/completions", body)
    assert got == status
    assert words in answer["error"]["message"]


def test_the_kind_of_body_and_doubled_headers(tiny):
    assert tiny.send("POST", "/v1/completions", b"{}", {"content-type": "text/plain"})[0] == 415
    assert (
        tiny.send("POST", "/v1/completions", b"{}", {"content-type": "application/json; charset=utf-8"})[0]
        == 400
    )
    for line in (
        b"Host: localhost\r\nHost: localhost",
        b"Host: localhost\r\nAuthorization: a\r\nAuthorization: b",
    ):
        assert b" 400 " in raw(tiny, b"GET /v1/models HTTP/1.1\r\n" + line + b"\r\n\r\n").split(b"\r\n")[0]


def test_a_chunked_body_is_counted_too(tiny):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(tiny, head + chunk * 17).split(b"\r\n")[0]


def raw(client, data):
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as s:
        s.sendall(data)
        return s.recv(65536)


def test_answers_say_what_browsers_must_not_do(tiny):
    for path in ("/", "/v1/models", "/nothing"):
        _, headers, _ = tiny.send("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    _, headers, _ = tiny.send("GET", "/")
    assert headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'"
    )


@pytest.mark.parametrize(
    "name",
    [
        "..%2f..%2fapp.py",
        "%2e%2e/app.py",
        "app.py",
        "INDEX.HTML",
        "x" * 300 + ".js",
        "a\\b.js",
        "index.html%00.js",
    ],
)
def test_only_files_of_the_page_are_given(tiny, name):
    status, _, body = tiny.send("GET", f"/static/{name}")
    assert status == 404
    assert b"import" not in body


def test_other_hosts_need_a_token(tmp_path):
    check(Settings())
    check(Settings(host="localhost"))
    check(Settings(host="0.0.0.0", tokens={TOKEN: None}))
    for settings in (Settings(host="0.0.0.0"), Settings(host="10.0.0.1")):
        with pytest.raises(UsageError, match="needs a token"):
            check(settings)
    with pytest.raises(UsageError, match="at least 16"):
        check(Settings(host="0.0.0.0", tokens={"short": None}))


def test_a_fault_inside_shows_nothing_of_itself(adapter_run, monkeypatch):
    with serving(adapter_run) as client:

        def fail(wish):
            raise ZeroDivisionError("secret inside")

        monkeypatch.setattr(client.service.menu, "serve", fail)
        status, answer = client.post("/v1/completions", {"model": "tiny", "prompt": "a"})
        assert (status, answer["error"]["type"]) == (503, "server_error")
        assert "secret" not in json.dumps(answer)
