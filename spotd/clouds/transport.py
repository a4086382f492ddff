"""The wire: every HTTP exchange is bounded as a whole, measured and counted.

A timeout of `requests` bounds each wait for a byte, so a server that drips one byte at a time holds a
thread for ever. Here a timer shuts the socket when the call's whole time is over, in whatever state the
exchange is.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry

from spotd.clouds.errors import Failure


class Observer(Protocol):
    """Is told of every exchange that was tried."""

    def __call__(self, service: str, operation: str, code: str, seconds: float, received_bytes: int) -> None:
        """`code` is the HTTP status, or a `Failure` where none came; `seconds` includes the whole body."""


def unobserved(service: str, operation: str, code: str, seconds: float, received_bytes: int) -> None:
    """An observer that looks away."""


@dataclass(slots=True, eq=False)
class _Call:
    service: str
    operation: str
    ends_at: float
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


def _call() -> _Call | None:
    return getattr(_current, "call", None)


@contextmanager
def calling(service: str, operation: str, seconds: float) -> Iterator[None]:
    """All exchanges of this thread inside the block belong to one call that ends after `seconds`.

    Nested calls keep the earlier end: an agent's deadline bounds each of its calls.
    """
    outer = _call()
    ends_at = time.monotonic() + seconds
    if outer is not None:
        ends_at = min(ends_at, outer.ends_at)
    call = _Call(service, operation, ends_at)
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


def remaining_seconds() -> float | None:
    """What is left of this thread's call; None where it is in none. Never below zero."""
    call = _call()
    return None if call is None else max(0.0, call.ends_at - time.monotonic())


class _WatchedHTTP(HTTPConnection):
    def getresponse(self) -> Any:
        call = _call()
        if call is not None:
            call.watch(self.sock)
        return super().getresponse()


class _WatchedHTTPS(HTTPSConnection):
    def getresponse(self) -> Any:
        call = _call()
        if call is not None:
            call.watch(self.sock)
        return super().getresponse()


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class BoundedAdapter(HTTPAdapter):
    """Transport for `requests` that reads the whole body inside the call's deadline and reports it."""

    def __init__(self, *, observer: Observer, connect_seconds: float, **keywords: Any) -> None:
        self._observer = observer
        self._connect_seconds = connect_seconds
        self._in_flight: set[_Call] = set()
        self._is_closed = False
        super().__init__(**keywords)

    def close(self) -> None:
        """Ends what is under way too, and sends nothing more: a process can leave while a cloud hangs."""
        self._is_closed = True
        for call in tuple(self._in_flight):
            call.expire()
        super().close()

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        """Makes pools whose connections can be shut from outside."""
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        """The same through a proxy."""
        manager = super().proxy_manager_for(proxy, **keywords)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: requests.PreparedRequest, *_: Any, **keywords: Any) -> requests.Response:
        """Sends one request and reads its answer to the end.

        Raises:
            requests.RequestException: `Timeout` once the call's time is over, else as `requests` has it.
        """
        call = _call()
        remaining = None if call is None else call.ends_at - time.monotonic()
        if remaining is not None and remaining <= 0:
            raise requests.Timeout("the time for this call is over", request=request)
        connect = self._connect_seconds if remaining is None else min(self._connect_seconds, remaining)
        keywords.update(stream=True, timeout=(connect, remaining))
        if call is not None:
            self._in_flight.add(call)
        started = time.monotonic()
        code, received = Failure.CONNECTION.value, 0
        try:
            self._refuse_where_closed(request)
            response = super().send(request, **keywords)
            received = len(response.content)
            if call is not None and call.expired:
                # A head that was cut off reads like a short one without a body.
                raise requests.Timeout("the time for this call is over", request=request)
            code = str(response.status_code)
        except requests.RequestException as error:
            self._refuse_where_closed(request, error)
            # The socket's own timeout may come a moment before the timer's.
            expired = call is not None and (call.expired or time.monotonic() >= call.ends_at)
            code = _failure_code(error, expired=expired)
            if expired and not isinstance(error, requests.Timeout):
                raise requests.Timeout("the time for this call is over", request=request) from error
            raise
        else:
            return response
        finally:
            if call is not None:
                call.watch(None)
                self._in_flight.discard(call)
            self._report(call, request, code, time.monotonic() - started, received)

    def _refuse_where_closed(self, request: requests.PreparedRequest, cause: Exception | None = None) -> None:
        """Of this kind, neither keystoneauth nor urllib3 tries a request again."""
        if self._is_closed:
            raise requests.RequestException("the session is closed", request=request) from cause

    def _report(
        self, call: _Call | None, request: requests.PreparedRequest, code: str, seconds: float, received: int
    ) -> None:
        service, operation = ("unknown", "unknown") if call is None else (call.service, call.operation)
        path = urlsplit(request.url or "").path.rstrip("/")
        if path.endswith(("/auth/tokens", "/v3")) or not path:
            # keystoneauth asks for versions and tokens by itself, inside whatever call needs them.
            service, operation = "keystone", "authenticate" if path.endswith("/tokens") else "versions"
        self._observer(service, operation, code, seconds, received)


def _failure_code(error: requests.RequestException, *, expired: bool) -> str:
    if expired or isinstance(error, requests.Timeout):
        return Failure.TIMEOUT
    if isinstance(error, requests.exceptions.SSLError):
        return Failure.TLS
    return Failure.CONNECTION


def bounded_session(
    observer: Observer, *, connect_seconds: float, retry: Retry | int = 0, pool_size: int = 8
) -> requests.Session:
    """A `requests` session all of whose exchanges are bounded and observed."""
    session = requests.Session()
    adapter = BoundedAdapter(
        observer=observer,
        connect_seconds=connect_seconds,
        max_retries=retry,
        pool_connections=pool_size,
        pool_maxsize=pool_size,
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def reads_as_json(response: requests.Response) -> bool:
    """Whether the answer claims to be JSON; a proxy's error page does not."""
    return "json" in response.headers.get("Content-Type", "").lower()


__all__ = [
    "BoundedAdapter",
    "Observer",
    "bounded_session",
    "calling",
    "reads_as_json",
    "remaining_seconds",
    "unobserved",
]
