"""The wire: every HTTP exchange is bounded as a whole, in time and in bytes, measured and counted.

A timeout of `requests` bounds each wait for a byte, so a server that drips one byte at a time holds a
thread for ever. Here a timer shuts the socket when the call's whole time is over, in whatever state the
exchange is. Nor does `requests` bound an answer's length: here bytes are counted as they come and as they
are unpacked. No redirect is followed and no `.netrc` read: a credential goes where it was meant to go.
"""

import re
import time
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.util import Retry

from spotd.clouds.calls import POOLS, Call, calling, current_call, remaining_seconds
from spotd.clouds.errors import Failure
from spotd.clouds.limits import COOKIE_BYTES, DOCUMENT_BYTES

PIECE_BYTES = 65_536
"""Bytes unpacked at a time: small packed bytes can hold a thousand times as many."""
VERSIONS = "versions"
"""The operation in which a service is asked for the versions of its API."""
ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})
"""What is asked for and can be unpacked piece by piece; several in a row are nobody's habit."""


_UNSHOWN = "an address that cannot be shown"
_HOST = re.compile(r"[a-z0-9._:-]{1,253}")


class Observer(Protocol):
    """Is told of every exchange that was tried."""

    def __call__(self, service: str, operation: str, code: str, seconds: float, received_bytes: int) -> None:
        """`code` is the HTTP status, or a `Failure` where none came; `seconds` includes the whole body."""


def unobserved(service: str, operation: str, code: str, seconds: float, received_bytes: int) -> None:
    """An observer that looks away."""


class TooLongError(requests.RequestException):
    """The answer has more bytes than such an answer may have."""


UNREADABLE = (TooLongError, requests.exceptions.ContentDecodingError)
"""What came is no answer, whatever it says, and would be none a second time."""


def unreadable(error: Exception) -> str:
    """What such an answer did."""
    return (
        "answered more bytes than such an answer has"
        if isinstance(error, TooLongError)
        else "answered what cannot be unpacked"
    )


class BoundedAdapter(HTTPAdapter):
    """Transport for `requests` that reads the body inside the call's bounds, to its end, and reports it."""

    def __init__(self, *, observer: Observer, connect_seconds: float, **keywords: Any) -> None:
        self._observer = observer
        self._connect_seconds = connect_seconds
        self._in_flight: set[Call] = set()
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
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        """The same through a proxy."""
        manager = super().proxy_manager_for(proxy, **keywords)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def send(self, request: requests.PreparedRequest, *_: Any, **keywords: Any) -> requests.Response:
        """Sends one request and reads its answer to the end.

        Raises:
            requests.RequestException: `Timeout` once the call's time is over, `TooLongError` where the
                answer is longer than the call lets it be, else as `requests` has it.
        """
        call = current_call()
        service, operation = _named(call, request)
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
            received = _read(response, _most_bytes(call, service, response.status_code))
            if call is not None and call.expired:
                # A head that was cut off reads like a short one without a body.
                raise requests.Timeout("the time for this call is over", request=request)
            code = str(response.status_code)
        except requests.RequestException as error:
            self._refuse_where_closed(request, error)
            # The socket's own timeout may come a moment before the timer's.
            expired = call is not None and (call.expired or time.monotonic() >= call.ends_at)
            is_too_long = call is not None and call.is_too_long
            code = _failure_code(error, expired=expired, is_too_long=is_too_long)
            if expired and not isinstance(error, requests.Timeout):
                raise requests.Timeout("the time for this call is over", request=request) from error
            if is_too_long and not isinstance(error, TooLongError):
                raise TooLongError("the answer is too long", request=request) from error
            raise
        else:
            return response
        finally:
            if call is not None:
                call.watch(None)
                self._in_flight.discard(call)
            self._observer(service, operation, code, time.monotonic() - started, received)

    def _refuse_where_closed(self, request: requests.PreparedRequest, cause: Exception | None = None) -> None:
        """Of this kind, neither keystoneauth nor urllib3 tries a request again."""
        if self._is_closed:
            raise requests.RequestException("the session is closed", request=request) from cause


def _named(call: Call | None, request: requests.PreparedRequest) -> tuple[str, str]:
    """The service and operation that a request belongs to."""
    service, operation = ("unknown", "unknown") if call is None else (call.service, call.operation)
    path = urlsplit(request.url or "").path.rstrip("/")
    # keystoneauth asks for versions and tokens by itself, inside whatever call needs them.
    if path.endswith("/auth/tokens"):
        return "keystone", "authenticate"
    if operation != VERSIONS and (path.endswith("/v3") or not path):
        return "keystone", VERSIONS
    return service, operation


def _most_bytes(call: Call | None, service: str, status: int) -> int:
    """A token that a list needs is no list, nor is an error page in its place."""
    is_other = call is None or service != call.service or status >= requests.codes.multiple_choices
    return DOCUMENT_BYTES if is_other or call is None else call.most_bytes


def _read(response: requests.Response, most: int) -> int:
    """Reads the body and unpacks it in pieces; returns its length.

    Raises:
        requests.RequestException: `TooLongError` past `most` bytes; it breaks off, or cannot be unpacked.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    body = bytearray()
    try:
        if encoding not in ENCODINGS:
            raise requests.exceptions.ContentDecodingError("packed in a way that was not asked for")
        for piece in response.iter_content(PIECE_BYTES):
            body += piece
            if len(body) > most:
                raise TooLongError("the answer is too long", request=response.request)
    except requests.RequestException:
        response.close()
        raise
    # What `Response.content` would keep, had it read the body itself.
    response._content = bytes(body)  # noqa: SLF001
    # Guessing it from the bytes takes seconds of CPU.
    response.encoding = response.encoding or "utf-8"
    return len(body)


def _failure_code(error: requests.RequestException, *, expired: bool, is_too_long: bool) -> str:
    if expired or isinstance(error, requests.Timeout):
        return Failure.TIMEOUT
    if isinstance(error, requests.exceptions.SSLError):
        return Failure.TLS
    if is_too_long or isinstance(error, UNREADABLE):
        return Failure.MALFORMED
    return Failure.CONNECTION


def _credentials_of_the_url(request: requests.PreparedRequest) -> requests.PreparedRequest:
    user, password = get_auth_from_url(request.url or "")
    return HTTPBasicAuth(user, password)(request) if user or password else request


class _Session(requests.Session):
    """Sends what it is given to where it is told, and to nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        # Without one, `requests` takes the password for the host from ~/.netrc and drops what was given.
        self.auth = _credentials_of_the_url
        self.headers["Accept-Encoding"] = "gzip, deflate"

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None whatever the answer says, so that it is never followed."""

    def send(self, request: requests.PreparedRequest, **keywords: Any) -> requests.Response:
        """Sends one request; cookies that no server would take back are forgotten."""
        response = super().send(request, **keywords)
        if sum(len(cookie.value or "") for cookie in self.cookies) > COOKIE_BYTES:
            self.cookies.clear()
        return response


def bounded_session(
    observer: Observer, *, connect_seconds: float, retry: Retry | int = 0, pool_size: int = 8
) -> requests.Session:
    """A `requests` session all of whose exchanges are bounded and observed."""
    session = _Session()
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


def origin_of(url: str, base: str = "") -> str:
    """Scheme, host and port of an address that somebody else wrote, without anything that it carries."""
    try:
        parts = urlsplit(urljoin(base, url))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _UNSHOWN
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        return _UNSHOWN
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


__all__ = [
    "UNREADABLE",
    "VERSIONS",
    "BoundedAdapter",
    "Observer",
    "TooLongError",
    "bounded_session",
    "calling",
    "origin_of",
    "reads_as_json",
    "remaining_seconds",
    "unobserved",
    "unreadable",
]
