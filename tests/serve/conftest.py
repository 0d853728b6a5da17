from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from pareto.serve.server import make_server
from pareto.serve.service import Service
from pareto.serve.settings import Limits, Settings
from tests.steer.conftest import adapter_run, model_run

__all__ = ["adapter_run", "model_run"]


class Client:
    """Speaks to a server on loopback, a new connection for every request.

    Args:
        port: of the server.
        service: its parts, for tests that look inside.
    """

    def __init__(self, port, service):
        self.port, self.service = port, service

    def send(self, method, path, body=None, headers=None):
        """(status, headers, bytes)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            own = {} if body is None else {"content-type": "application/json"}
            connection.request(method, path, data, own | (headers or {}))
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path, **headers):
        status, _, body = self.send("GET", path, headers=headers)
        return status, json.loads(body)

    def post(self, path, body, headers=None):
        status, _, answer = self.send("POST", path, body, headers)
        return status, json.loads(answer)

    def ask(self, prompt="the cat", model="tiny", **fields):
        """A text completion that must succeed."""
        asked = {"model": model, "prompt": prompt, "max_tokens": 8, "seed": 1} | fields
        status, answer = self.post("/v1/completions", asked)
        assert status == 200, answer
        return answer

    def events(self, path, body):
        """Parsed server-sent events; the last one must be [DONE]."""
        status, headers, answer = self.send("POST", path, body | {"stream": True})
        assert status == 200, answer
        assert headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.decode().split("\n\n") if line]
        assert lines[-1] == "[DONE]"
        return [json.loads(line) for line in lines[:-1]]

    def wait(self, condition, limit_s=20.0):
        """Until something is so; a test that waits in vain fails."""
        end = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.005)


@contextlib.contextmanager
def serving(run, limits=None, **settings):
    """A server of a run on a free port of loopback."""
    service = Service(run, Settings(port=0, limits=Limits(**(limits or {})), **({"name": "tiny"} | settings)))
    address = []
    server = make_server(service, address.append)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 60
        while not address:
            assert time.monotonic() < end
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(int(address[0].rpartition(":")[2]), service)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def tiny(adapter_run):
    """A server of three adapters on one base."""
    with serving(adapter_run) as client:
        yield client
