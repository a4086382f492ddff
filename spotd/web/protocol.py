"""HTTP/1.1 for clients of any kind: those that are slow to ask or to listen, or too many, are let go."""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from spotd.web.addresses import plain_address
from spotd.web.connections import Connections

HEAD_SECONDS = 10.0
"""For the whole head, from the connection's beginning or from the head's first byte; a head is one packet."""
TAKING_SECONDS = 60.0
"""For what waits to be sent; a scrape that takes longer was given up by its Prometheus long ago."""
_TOO_MANY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 41\r\nconnection: close\r\n\r\nToo many connections from this address.\r\n"
)


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for a head for ever, and for its answer to be taken."""

    counted: Connections
    """Set by `timed_protocol`."""
    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None
    _let_in: str | None = None
    """The address that was counted."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        # Head and body of an answer are two packets; by default the second may wait 40 ms for the client's
        # word that it has the first. asyncio asks for this only where a socket names its protocol.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.client is not None:
            self.client = (plain_address(self.client[0]), self.client[1])
        host = self.client[0] if self.client else "unknown"
        if not self.counted.enter(host):
            transport.write(_TOO_MANY)
            transport.close()
            return
        self._let_in = host
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        if self._let_in is None:
            return
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        self._unwatch()
        self._taken()
        if self._let_in is not None:
            self.counted.leave(self._let_in)
            self._let_in = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what it asked for, or not as fast as it comes."""
        super().pause_writing()
        if self._taking_timer is None:
            self._taking_timer = self.loop.call_later(TAKING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has taken nearly all."""
        super().resume_writing()
        self._taken()

    def _taken(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None

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


def timed_protocol(connections: Connections) -> type[TimedProtocol]:
    """The protocol of one server, which counts in these connections."""
    return type("CountedProtocol", (TimedProtocol,), {"counted": connections})
