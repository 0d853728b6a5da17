"""Connections that begin and do not go on are closed; honest clients beside them are answered."""

from __future__ import annotations

import socket

from tests.serve.conftest import serving

REQUEST = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n"


def opened(client, data=b""):
    s = socket.create_connection(("127.0.0.1", client.port), timeout=20)
    s.sendall(data)
    return s


def closed(s):
    try:
        return s.recv(10) == b""
    except ConnectionResetError:
        return True


def test_headers_and_bodies_that_do_not_come_are_given_up(adapter_run):
    with serving(adapter_run, {"header_s": 0.5, "body_s": 0.5}) as client:
        silent, begun, slow_body = opened(client), opened(client, REQUEST), opened(client, REQUEST + b"\r\n{")
        again = opened(client, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in again.recv(4096)
        again.sendall(b"GET /heal")  # a second request that does not go on
        assert client.ask()["choices"]
        assert silent.recv(10) == b""
        assert begun.recv(10) == b""
        assert b" 408 " in slow_body.recv(4096)
        while again.recv(4096):
            pass
        for s in (silent, begun, slow_body, again):
            s.close()


def test_too_many_connections_cost_those_that_have_not_said_anything_yet(adapter_run):
    with serving(adapter_run, {"connections": 20, "header_s": 60.0}) as client:
        held = [opened(client, b"GET / HT") for _ in range(30)]
        assert client.ask()["choices"]
        assert all(closed(s) for s in held[:10])
        assert client.ask()["choices"]
        for s in held:
            s.close()
