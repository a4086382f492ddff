"""HTTP/1.1 for clients of any kind: those that are slow to ask or to listen, or too many, are let go."""

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from spotd.web.accepting import Door
from spotd.web.addresses import plain_address
from spotd.web.strict import StrictConnection

HEAD_SECONDS = 10.0
"""For the whole head, from the connection's beginning or from the head's first byte; a head is one packet."""
TAKING_SECONDS = 60.0
"""For what waits to be sent; a scrape that takes longer was given up by its Prometheus long ago."""
LINGER_SECONDS = 1.0
"""How long what a refused client still sends is read and dropped: a close at once may cost it the answer."""


class TimedProtocol(H11Protocol):
    """uvicorn's protocol, which by itself waits for a head for ever, and for its answer to be taken."""

    door: Door
    """Set by `timed_protocol`."""
    _head_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self.conn = StrictConnection(self._refuse)
        accepted = transport.get_extra_info("socket")
        # Head and body of an answer are two packets; by default the second may wait 40 ms for the client's
        # word that it has the first. asyncio asks for this only where a socket names its protocol.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.door.met(accepted.fileno())
        if self.client is not None:
            self.client = (plain_address(self.client[0]), self.client[1])
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request has come."""
        if self._is_refused:
            return
        super().data_received(data)
        if not self._is_refused:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has left."""
        self._unwatch()
        self._taken()
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
            self.door.complaints.tell("slow clients let go", reason="slow", address=self._address)
            self.transport.abort()

    def _refuse(self, fault: str) -> None:
        """Answers what is no request with 400, unless an answer has begun, and ends the connection."""
        self._is_refused = True
        self.door.complaints.tell(
            "malformed requests refused", reason="malformed", address=self._address, fault=fault
        )
        self._unwatch()
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever is at work for it has nobody to answer
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:  # else it has an answer, or part of one
            self.transport.write(_refusal(fault))
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.transport.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else "unknown"

    def _should_upgrade(self) -> bool:
        """No; uvicorn would tell the log of each that asks."""
        return False


def _refusal(fault: str) -> bytes:
    body = f"Bad request: {fault}.\n".encode()
    return (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
    )


def timed_protocol(door: Door) -> type[TimedProtocol]:
    """The protocol of one server, behind its door."""
    return type("TimedProtocolOfOneServer", (TimedProtocol,), {"door": door})
