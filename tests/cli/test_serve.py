"""`pareto serve` as a process: what it refuses, that it opens no connection, how it stops."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from pareto.cli import main
from pareto.state import manifest
from tests.models import adapters_by_hand as by_hand

PROGRAM = """
import sys
from pareto.cli import main
from pareto.serve import measured
async def connect() -> None:
    import socket
    socket.create_connection(("127.0.0.1", 9), timeout=1)
measured.router.add_api_route("/v1/outside", connect)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder with two adapters."""
    run = tmp_path_factory.mktemp("run")
    by_hand.write_reference(run / "prerequisites" / "base")
    policies = []
    for k, name in enumerate(("h", "b")):
        by_hand.write_ours(run / "policies" / name, k)
        corner = {"helpful": 1.0 - k, "brief": float(k)}
        files = manifest.digests(run / "policies" / name)
        policies.append({"id": name, "kind": "adapter", "values": corner, "weights": corner, "files": files,
                         "needs": {"reference": "prerequisites/base"}})  # fmt: skip
    objectives = [{"name": name, "direction": "max", "unit": "reward"} for name in ("helpful", "brief")]
    (run / "front.json").write_text(
        json.dumps({"format": 1, "study": "small", "objectives": objectives, "policies": policies})
    )
    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--limit", "replytokens=5"], "did you mean 'reply_tokens'"),
        (["--limit", "reply_tokens=many"], "NAME=NUMBER"),
        (["--weights", "helpful=1"], "missing: brief"),
        (["--method", "sup", "--port", "0"], "did you mean 'soup'"),
    ],
)
def test_what_it_refuses(folder, arguments, words, monkeypatch, capsys):
    monkeypatch.delenv("PARETO_TOKEN", raising=False)
    monkeypatch.setattr(
        "pareto.serve.server.refuse_connections", lambda host: None
    )  # it could not be taken back
    assert main(["serve", str(folder), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_it_serves_opens_no_connection_and_finishes_what_it_has_when_stopped(folder):
    command = [sys.executable, "-c", PROGRAM, "serve", str(folder), "--port", "0", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout if "http://" in line)
        port = int(re.search(r":(\d+) ", line)[1])
        outside = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        outside.request("GET", "/v1/outside")
        assert outside.getresponse().status == 503
        outside.close()
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        asked = {"model": "small", "prompt": "rain", "max_tokens": 100, "seed": 1, "stream": True}
        stream.request("POST", "/v1/completions", json.dumps(asked), {"content-type": "application/json"})
        answer = stream.getresponse()
        assert answer.read(20).startswith(b"data: {")
        process.send_signal(signal.SIGTERM)
        assert answer.read().endswith(b"data: [DONE]\n\n")
        stream.close()
        assert process.wait(60) == 0
        log = process.stderr.read()
        assert "a serving process opens no connections (socket." in log
        assert "stopped" in process.stdout.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
