"""One call to a cloud: its end, which shuts whatever socket it waits on, and the bytes that it takes in."""

import http.client
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from spotd.clouds.limits import DOCUMENT_BYTES, HEAD_BYTES


@dataclass(slots=True, eq=False)
class Call:
    """The bounds of one call, and the socket that it waits on."""

    service: str
    operation: str
    ends_at: float
    most_bytes: int
    is_too_long: bool = False
    waits_on: socket.socket | None = None
    expired: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def expire(self) -> None:
        """Shuts the socket so that whatever waits on it returns at once."""
        with self.lock:
            self.expired = True
            if self.waits_on is not None:
                # Closed in the same moment is what was wanted.
                with suppress(OSError):
                    # The plain socket's shutdown also under TLS: SSLSocket's own would wait for the peer.
                    socket.socket.shutdown(self.waits_on, socket.SHUT_RDWR)

    def watch(self, sock: socket.socket | None) -> None:
        """Names the socket that the call waits on."""
        with self.lock:
            self.waits_on = sock
        if self.expired:
            self.expire()


_current = threading.local()


def current_call() -> Call | None:
    """This thread's call; None where it is in none."""
    return getattr(_current, "call", None)


@contextmanager
def calling(service: str, operation: str, seconds: float, most_bytes: int = DOCUMENT_BYTES) -> Iterator[None]:
    """All exchanges of this thread inside the block belong to one call that ends after `seconds`.

    Each answer may have `most_bytes`, unpacked. Nested calls keep the earlier end: an agent's deadline
    bounds each of its calls.
    """
    outer = current_call()
    ends_at = time.monotonic() + seconds
    if outer is not None:
        ends_at = min(ends_at, outer.ends_at)
    call = Call(service, operation, ends_at, most_bytes)
    _current.call = call
    timer = threading.Timer(max(0.0, ends_at - time.monotonic()), call.expire)
    timer.name = f"deadline {service} {operation}"
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _current.call = outer


@contextmanager
def asking(service: str, operation: str) -> Iterator[None]:
    """What is sent inside the block is told as this, in this thread's call, and answered by a document."""
    call = current_call()
    if call is None:
        yield
        return
    before = call.service, call.operation, call.most_bytes
    call.service, call.operation, call.most_bytes = service, operation, DOCUMENT_BYTES
    try:
        yield
    finally:
        call.service, call.operation, call.most_bytes = before


def remaining_seconds() -> float | None:
    """What is left of this thread's call; None where it is in none. Never below zero."""
    call = current_call()
    return None if call is None else max(0.0, call.ends_at - time.monotonic())


class _Counted(io.RawIOBase):
    """The bytes of one answer as they come from the socket, the head and what stands between chunks too."""

    def __init__(self, raw: io.RawIOBase, call: Call | None) -> None:
        self._raw = raw
        self._call = call
        self._left = (DOCUMENT_BYTES if call is None else call.most_bytes) + HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            if self._call is not None:
                self._call.is_too_long = True
            raise OSError("the answer is too long")
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _CountedResponse(http.client.HTTPResponse):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.fp = io.BufferedReader(_Counted(self.fp.detach(), current_call()))


class _WatchedHTTP(HTTPConnection):
    response_class = _CountedResponse

    def getresponse(self) -> Any:
        call = current_call()
        if call is not None:
            call.watch(self.sock)
        return super().getresponse()


class _WatchedHTTPS(HTTPSConnection):
    response_class = _CountedResponse

    def getresponse(self) -> Any:
        call = current_call()
        if call is not None:
            call.watch(self.sock)
        return super().getresponse()


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


POOLS = {"http": _HTTPPool, "https": _HTTPSPool}
"""Pools whose connections are counted, and can be shut from outside."""
