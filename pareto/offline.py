"""Offline mode: while it is asked for, no Python socket of this process or its children reaches another machine.

The environment variable `PARETO_OFFLINE` asks for it, and importing `pareto` heeds it, so that workers, wherever they are
started, are held to it like the command that started them. What stays on the machine is let through (loopback, Unix
sockets): servers, torch's rendezvous and a local Ray cluster work.

Sockets that native code opens by itself are not seen here: Ray's transport between nodes and NCCL's are the cluster's own,
and go where its owner said. A name handed to `connect` itself is looked up before Python asks, and refused after.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from pareto.errors import OfflineError

VARIABLE = "PARETO_OFFLINE"
"""Asks this process and its children for offline mode; "", "0", "false", "no" and "off" do not."""
HUB_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
"""Tell Hugging Face's libraries to look at files that are here, before they try what is refused."""
_OFF = ("", "0", "false", "no", "off")
_LOCAL_NAMES = ("", "localhost", "localhost.localdomain", "ip6-localhost")
_ASKS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
_SENDS = ("socket.connect", "socket.sendto", "socket.sendmsg")

_installed = False


def is_asked_for() -> bool:
    """Whether offline mode is asked for."""
    return os.environ.get(VARIABLE, "").lower() not in _OFF


def ask() -> None:
    """Ask for offline mode, for this process and all it starts from now on."""
    os.environ[VARIABLE] = "1"
    heed()


def heed() -> None:
    """Refuse connections from now on if offline mode is asked for; nothing otherwise."""
    if not is_asked_for():
        return
    os.environ.update(dict.fromkeys(HUB_VARIABLES, "1"))
    _install()


def _install() -> None:
    """Hook sockets. A hook cannot be taken back; it looks at the variable each time, and is silent without it."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not event.startswith("socket.") or not is_asked_for():
        return
    if event in _SENDS and not _stays(args[0].family, args[1]):
        raise _refusal(f"{event.removeprefix('socket.')} to {_shown(args[1])}")
    if event in _ASKS:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
        if not is_local(host):
            raise _refusal(f"looking up {host!r:.200}")


def _stays(family: int, address: Any) -> bool:
    """Whether what goes to an address stays on this machine; without one the socket is connected, which was looked at."""
    import socket

    if address is None or family == getattr(socket, "AF_UNIX", None):
        return True
    return family in (socket.AF_INET, socket.AF_INET6) and is_local(address[0])


def is_local(host: Any) -> bool:
    """Whether a host is this machine itself: loopback, "any", or a name of them; nothing is looked up.

    Args:
        host: name or address as sockets take it: str, bytes or None.
    """
    import ipaddress
    import socket

    if host is None:
        return True
    try:
        name = (host.decode("ascii") if isinstance(host, bytes | bytearray) else str(host)).lower()
    except UnicodeDecodeError:
        return False
    if name in _LOCAL_NAMES or name == socket.gethostname().lower():
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _refusal(what: str) -> OfflineError:
    return OfflineError(
        f"offline mode is on (--offline, or {VARIABLE} in the environment), so nothing may leave this machine; refused: {what}; "
        "give files that are here (a model's folder in place of its hub id), or leave offline mode"
    )


def _shown(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else repr(address)[:200]
