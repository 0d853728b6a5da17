"""Connections that do not finish what they begin: closed at a deadline, and first when there are too many."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits so long for a request's headers and no longer.

    uvicorn's keep-alive deadline ends with the first byte of a request, so that a byte now and then would hold a
    connection for ever.
    """

    header_s = 10.0
    most = 512
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start the clock; make room where there are too many connections."""
        super().connection_made(transport)
        self._arm()
        open_ = [
            c for c in self.connections if isinstance(c, PatientProtocol) and not c.transport.is_closing()
        ]
        if len(open_) > self.most:
            waiting = [(c._timer.when(), c) for c in open_ if c._timer is not None]
            min(waiting, key=lambda pair: pair[0])[1].transport.close()  # this one waits too, so there is one

    def data_received(self, data: bytes) -> None:
        """Stop the clock when the headers are whole; start it again with the next request's first byte."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._disarm()
        elif self._timer is None:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.header_s, self._over)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self) -> None:
        self._timer = None
        self.transport.close()


def protocol(header_s: float, most: int) -> type[PatientProtocol]:
    """The protocol with these bounds; uvicorn makes one object of it for each connection."""
    return type("BoundPatientProtocol", (PatientProtocol,), {"header_s": header_s, "most": most})
