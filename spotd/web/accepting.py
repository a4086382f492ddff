"""Accepts connections: counted before anything is read of them, and with patience where descriptors run out.

asyncio calls `accept` of the socket that it is given, many times in a row, and waits a second where that says
that the machine has no more to give. Here it says so once.
"""

import errno
import socket
from typing import Any, Self

from spotd.web.addresses import plain_address
from spotd.web.complaints import Complaints
from spotd.web.connections import Connections

PAUSE_SECONDS = 0.5
"""How long nothing is accepted where no descriptor is left; shorter than the second that asyncio waits."""
NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_CLIENT_HAS_LEFT = frozenset(
    {
        *(errno.EPROTO, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EPERM, errno.ETIMEDOUT),
        *(errno.ENETDOWN, errno.EHOSTDOWN, errno.ENONET, errno.EHOSTUNREACH, errno.ENETUNREACH),
    }
)
"""What Linux says of a connection that failed before it was accepted: see accept(2)."""


class Door:
    """Who is let in, and who is there; of one server, on its event loop."""

    def __init__(self, connections: Connections, complaints: Complaints, *, has_tls: bool) -> None:
        self.connections = connections
        self.complaints = complaints
        self.has_tls = has_tls
        self._strangers: dict[int, str] = {}
        """Connections, by descriptor, that nobody has spoken with yet."""

    def enter(self, connection: socket.socket, host: str) -> bool:
        """Whether it is let in; who is not is told so, and gone."""
        if self.connections.enter(host):
            self._strangers[connection.fileno()] = host
            return True
        if not self.has_tls:  # else the client would take it for broken TLS
            whose = b"" if self.connections.is_full else b" from this address"
            _say(connection, b"Too many connections%b.\r\n" % whose)
        connection.close()
        return False

    def met(self, descriptor: int) -> None:
        """HTTP begins: TLS is agreed on, where there is some."""
        self._strangers.pop(descriptor, None)

    def leave(self, descriptor: int, host: str) -> None:
        """A connection that was let in is to be closed."""
        self.connections.leave(host)
        if self._strangers.pop(descriptor, None) is not None and self.has_tls:
            self.complaints.tell("TLS handshakes failed", reason="tls", address=host)


class Listener(socket.socket):
    """A listening socket that lets its door decide."""

    _door: Door
    _resume_at = float("-inf")

    @classmethod
    def of(cls, bound: socket.socket, door: Door) -> Self:
        """Takes the place of a bound socket."""
        listener = cls(bound.family, bound.type, bound.proto, bound.detach())
        listener._door = door
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection that is let in.

        Raises:
            BlockingIOError: There is none now.
            OSError: There is no descriptor for one.
        """
        complaints = self._door.complaints
        if complaints.monotonic() < self._resume_at:
            raise BlockingIOError
        try:
            plain, address = super().accept()
        except OSError as error:
            if error.errno in _CLIENT_HAS_LEFT:
                raise BlockingIOError from error
            if error.errno in NOTHING_LEFT:
                self._resume_at = complaints.monotonic() + PAUSE_SECONDS
                complaints.tell(
                    "no connection is accepted for lack of descriptors",
                    reason="descriptors",
                    why=error.strerror,
                )
            raise
        connection = Accepted(plain.family, plain.type, plain.proto, plain.detach())
        host = plain_address(address[0])
        if not self._door.enter(connection, host):
            raise BlockingIOError  # and not the next at once: the loop has others to serve
        connection.host, connection.door = host, self._door
        return connection, address


class Accepted(socket.socket):
    """A connection that leaves its place when it is closed, however far it came."""

    door: Door | None = None
    host = ""

    def close(self) -> None:
        """Ends it."""
        door, self.door = self.door, None
        if door is not None:
            door.leave(self.fileno(), self.host)
        super().close()


def _say(connection: socket.socket, reason: bytes) -> None:
    """Into the connection's own buffer, which is empty: this does not wait."""
    answer = (
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(reason), reason)
    )
    connection.setblocking(False)
    try:
        connection.send(answer)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return
