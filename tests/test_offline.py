"""Offline mode: what would leave the machine is refused and named, what stays on it works, and without it nothing is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from pareto import offline
from pareto.errors import OfflineError

OUTSIDE = "192.0.2.1"  # RFC 5737: an address for documentation, which belongs to nobody


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline mode for one test; the hook stays in the process and is silent afterwards."""
    for name in (offline.VARIABLE, *offline.HUB_VARIABLES):
        monkeypatch.setenv(name, "")
    offline.ask()


def _connect(kind: int, address: tuple[str, int]) -> int:
    with socket.socket(socket.AF_INET, kind) as caller:
        caller.setblocking(False)
        return caller.connect_ex(address)


def _send(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.sendto(b"x", address)


ATTEMPTS: dict[str, tuple[Callable[[], object], str]] = {
    "a connection": (lambda: _connect(socket.SOCK_STREAM, (OUTSIDE, 443)), r"connect to 192\.0\.2\.1:443"),
    "the cloud's metadata": (lambda: _connect(socket.SOCK_STREAM, ("169.254.169.254", 80)), r"connect to 169\.254"),
    "a datagram": (lambda: _send((OUTSIDE, 53)), r"sendto to 192\.0\.2\.1:53"),
    "a datagram's peer": (lambda: _connect(socket.SOCK_DGRAM, (OUTSIDE, 53)), r"connect to 192\.0\.2\.1:53"),
    "a name": (lambda: socket.getaddrinfo("example.org", 443), r"looking up 'example\.org'"),
    "a name, the old way": (lambda: socket.gethostbyname("example.org"), r"looking up 'example\.org'"),
    "an address's name": (lambda: socket.gethostbyaddr(OUTSIDE), r"looking up '192\.0\.2\.1'"),
    "an address's name, the new way": (lambda: socket.getnameinfo((OUTSIDE, 1), 0), r"looking up '192\.0\.2\.1'"),
    "what libraries do": (lambda: socket.create_connection((OUTSIDE, 443), timeout=1), "looking up"),
}  # fmt: skip


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_leaves_the_machine_is_refused_and_named(asked: None, attempt: str) -> None:
    act, where = ATTEMPTS[attempt]
    with pytest.raises(OfflineError, match=f"offline mode is on.*{where}.*leave offline mode"):
        act()


def test_what_stays_on_the_machine_works(asked: None, tmp_path) -> None:
    for address in (("127.0.0.1", 0), (str(tmp_path / "socket"))):
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        with socket.socket(family) as server, socket.socket(family) as caller:
            server.bind(address)
            server.listen()
            caller.connect(server.getsockname())
            caller.sendmsg([b"x"])
            with server.accept()[0] as heard:
                assert heard.recv(1) == b"x"
    assert socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo(None, 80)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("0.0.0.0", True),
        ("localhost", True), (b"LOCALHOST", True), (None, True), ("", True), ("::1%lo", True),
        ("127.0.0.1.example.org", False), ("localhost.example.org", False), ("10.0.0.1", False), ("0x7f000001", False),
        ("::ffff:192.0.2.1", False), ("fe80::1%eth0", False), (b"\xff", False), ("8.8.8.8", False), ("2130706433", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_machine(host: object, local: bool) -> None:
    assert offline.is_local(host) is local


def test_without_it_nothing_of_ours_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (offline.VARIABLE, *offline.HUB_VARIABLES):
        monkeypatch.setenv(name, "")
    offline.ask()
    monkeypatch.setenv(offline.VARIABLE, "0")
    _connect(socket.SOCK_STREAM, (OUTSIDE, 9))  # a number of the system's, whatever it is, and no exception


@pytest.mark.parametrize(
    ("value", "refused"), [("1", True), ("true", True), ("0", False), ("", False), (None, False)]
)
def test_importing_the_package_heeds_the_variable(value: str | None, refused: bool) -> None:
    """As workers do, wherever they are started: by a pool, by a launcher or by a user's own program."""
    code = f"""
import os, socket
import pareto
caller = socket.socket()
caller.setblocking(False)
try:
    caller.connect_ex(({OUTSIDE!r}, 9))
    print("let through")
except OSError as error:
    print(type(error).__name__, os.environ["HF_HUB_OFFLINE"])
"""
    environment = {k: v for k, v in os.environ.items() if k not in (offline.VARIABLE, *offline.HUB_VARIABLES)}
    environment |= {} if value is None else {offline.VARIABLE: value}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ("OfflineError 1" if refused else "let through")


def test_a_library_that_looks_for_a_network_finds_none(asked: None) -> None:
    """The refusal is a ConnectionError, so what has a way without network takes it, and what has none says why."""
    import urllib.error
    import urllib.request

    with pytest.raises(urllib.error.URLError, match="offline mode is on"):
        urllib.request.urlopen(f"http://{OUTSIDE}/", timeout=1)
