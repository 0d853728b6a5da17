"""The process: listens, serves, and on a stop finishes what it has."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from pareto.errors import MachineError, UsageError
from pareto.offline import HUB_VARIABLES
from pareto.policy_set import PolicySet
from pareto.serve.app import make_app
from pareto.serve.deadlines import protocol
from pareto.serve.service import Service
from pareto.serve.settings import LOOPBACK, Settings


def check(settings: Settings) -> None:
    """Refuse settings that would open a run to a network without a token.

    Raises:
        UsageError: another host than loopback without a token.
    """
    if settings.host not in LOOPBACK and not settings.tokens:
        raise UsageError(
            f"serving on {settings.host} opens the run to others, so it needs a token: --token TOKEN, or PARETO_TOKEN; "
            "without one only loopback (127.0.0.1) is served"
        )
    for token in settings.tokens:
        if len(token) < 16 and settings.host not in LOOPBACK:
            raise UsageError("a token for a host that others reach needs at least 16 characters")


def serve(run: PolicySet, settings: Settings, started: Callable[[str], Any] | None = None) -> None:
    """Serve a run until a signal says stop.

    Args:
        run: the policy set.
        settings: how.
        started: called with the address once requests are answered.

    Raises:
        UsageError: settings that open the run to others.
        MachineError: the address cannot be listened on.
    """
    service = Service(run, settings)
    server = make_server(service, started)
    service.start()  # what cannot be served is said before anything listens
    try:
        server.run()
    except SystemExit as error:
        raise MachineError(
            f"the server did not start on {settings.host}:{settings.port}; is the port taken?"
        ) from error
    if not server.started:
        raise MachineError(f"the server did not start on {settings.host}:{settings.port}; its log says why")


def make_server(service: Service, started: Callable[[str], Any] | None = None) -> uvicorn.Server:
    """A server that is ready to run.

    Args:
        service: what it serves.
        started: called with the address once requests are answered.

    Raises:
        UsageError: settings that open the run to others.
    """
    settings = service.settings
    check(settings)
    os.environ.update(dict.fromkeys(HUB_VARIABLES, "1"))
    config = uvicorn.Config(
        make_app(service),
        host=settings.host,
        port=settings.port,
        http=protocol(settings.limits.header_s, settings.limits.connections),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(max(1.0, settings.limits.header_s)),
        timeout_graceful_shutdown=int(max(1.0, settings.drain_s)),
        h11_max_incomplete_event_size=settings.limits.header_bytes,
    )
    return _Server(config, service, started)


class _Server(uvicorn.Server):
    """uvicorn's server, which tells its address, drains on a signal and then returns."""

    def __init__(self, config: uvicorn.Config, service: Service, told: Callable[[str], Any] | None) -> None:
        super().__init__(config)
        self.service, self.told = service, told

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started and self.told is not None:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.told(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """As uvicorn's, but a signal that was obeyed is not raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield  # whoever runs a server in a thread stops it there
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """First signal: finish what there is. Second: at once."""
        self.service.drain()
        super().handle_exit(sig, frame)


_refusing = False


def refuse_connections(host: str) -> None:
    """From now on this process opens no connection to anywhere and asks for no name but its own; it has no need to.

    An audit hook cannot be taken back, so this belongs to the process that serves and to no other.

    Args:
        host: what the server listens on.
    """
    global _refusing
    if _refusing:
        return
    _refusing = True
    own = {host, *LOOPBACK, None}

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" or (event == "socket.getaddrinfo" and args[0] not in own):
            raise PermissionError(f"a serving process opens no connections ({event})")

    sys.addaudithook(hook)
