"""What a request must be before any route sees it: for this host, of bounded size, sent in bounded time."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotd.web.api.envelope import Code, refused

_HOST = re.compile(r"(?:\[([0-9A-Za-z:.%_-]+)\]|([^\s:@/\[\]]*))(?::[0-9]*)?")
OPEN_TO_ANY_NAME = frozenset({"/metrics", "/-/healthy", "/-/ready"})
"""What Prometheus and probes ask for, under whatever name they know this machine by."""


class Gate:
    """Wraps the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        allowed_hosts: Callable[[], Iterable[str]],
        largest_body_bytes: Callable[[], int],
        body_seconds: Callable[[], float],
    ) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._largest_body_bytes = largest_body_bytes
        self._body_seconds = body_seconds
        self._own_names = own_names()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets one request on, with its whole body at hand, or refuses it."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if not self._is_for_us(scope, headers.get(b"host", b"").decode("latin-1")):
            answer = refused(scope, Code.WRONG_HOST, "This server has no such name: see web.allowed_hosts.")
            await answer(scope, receive, send)
            return
        if b"content-length" not in headers and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(self._body(headers, receive), self._body_seconds())
        except (_TooLarge, TimeoutError) as error:
            code, sentence = (
                (Code.TOO_LARGE, f"The body is longer than {self._largest_body_bytes()} bytes.")
                if isinstance(error, _TooLarge)
                else (Code.TOO_SLOW, f"The body did not come within {self._body_seconds():g} s.")
            )
            await refused(scope, code, sentence, {"Connection": "close"})(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replayed(body, receive), send)

    def _is_for_us(self, scope: Scope, host: str) -> bool:
        """Whether the name is one of this server's; an address cannot be another site's name."""
        if scope["path"] in OPEN_TO_ANY_NAME:
            return True
        name = name_of(host)
        allowed = {allowed.lower() for allowed in self._allowed_hosts()}
        return "*" in allowed or name in allowed or name in self._own_names or _is_address(name)

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        """The whole body; None where the client left."""
        most = self._largest_body_bytes()
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > most:
            raise _TooLarge
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise _TooLarge
            if not message.get("more_body", False):
                return b"".join(parts)


class _TooLarge(Exception):  # noqa: N818 - caught where it is raised
    pass


def own_names() -> frozenset[str]:
    """The names that this machine has for itself."""
    return frozenset(name.lower() for name in ("localhost", socket.gethostname(), socket.getfqdn()) if name)


def name_of(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; none where it is not NAME:PORT."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2] or "").lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then what the connection says."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
