"""HTTP/1.1 for clients of any kind: one that does not send its request's head in time is let go."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""For the whole head, from the connection's beginning or from the head's first byte; a head is one packet."""


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for a head for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        # Head and body of an answer are two packets; by default the second may wait 40 ms for the client's
        # word that it has the first. asyncio asks for this only where a socket names its protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Starts the time where a head is awaited, and ends it where it has come."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._let_go)

    def _unwatch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _let_go(self) -> None:
        self._head_timer = None
        is_awaited = self.cycle is None or self.cycle.response_complete
        if is_awaited and not self.transport.is_closing():
            self.transport.abort()
