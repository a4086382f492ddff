"""The outermost layer of the HTTP face: it times every answer, guards its headers and ends every error."""

import logging
import time
from typing import Any, Protocol

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotd.web.api.audit import Auditor
from spotd.web.api.envelope import STARTED, Code, refused
from spotd.web.complaints import Complaints

UNMATCHED = "unmatched"
"""Stands for every path that is no route, so that strangers cannot make labels."""
EVENT_STREAM = b"text/event-stream; charset=utf-8"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_CLOSE = (b"connection", b"close")


class HttpRecorder(Protocol):
    """Is told of every answer; the metrics implement it."""

    def http_answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """`route` is the route's template or `UNMATCHED`, never a path."""
        ...


class Edge:
    """Wraps an application; pure ASGI, since only so the whole answer is inside the measured time."""

    def __init__(self, app: ASGIApp, recorder: HttpRecorder, auditor: Auditor) -> None:
        self._app = app
        self._recorder = recorder
        self._auditor = auditor
        self._complaints = Complaints()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[STARTED] = time.monotonic()
        answer = _Answer(scope, receive, send, self._recorder)
        try:
            await self._app(scope, answer.receive, answer.send)
        except Exception as error:  # noqa: BLE001 - the edge of a request: a traceback for the log
            if answer.status is None:
                await failed(scope)(scope, answer.receive, answer.send)
            self._tell(scope, error)
        finally:
            answer.end()
        if answer.status is not None:
            await self._auditor.answered(scope, answer.status)

    def _tell(self, scope: Scope, error: Exception) -> None:
        """Once a minute for each route: it may be a stranger who found out how to make it fail."""
        route = _route(scope)
        self._complaints.tell(
            "request failed",
            reason="error",
            about=route,
            level=logging.ERROR,
            route=route,
            method=scope["method"],
            exc_info=error,
        )


class _Answer:
    """One answer on its way out; counted before its last byte leaves, so that its reader finds it counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, recorder: HttpRecorder) -> None:
        self.status: int | None = None
        self._scope = scope
        self._receive = receive
        self._send = send
        self._recorder = recorder
        names = {name for name, _ in scope["headers"]}
        # Of a chunked body there are several readings of where it ends, and of one that waits for
        # "100 Continue" of whether it comes: what follows might be no request of this client.
        self._is_last = b"transfer-encoding" in names
        self._awaits_word = b"expect" in names
        self._started = time.monotonic()
        self._is_counted = False
        self._is_head = scope["method"] == "HEAD"

    async def receive(self) -> Message:
        """The next part of the request; uvicorn asks for the body where that was not done yet."""
        self._awaits_word = False
        return await self._receive()

    async def send(self, message: Message) -> None:
        """Sends a part of it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = list(message.get("headers", ()))
            names = {name.lower() for name, _ in told}
            # A route that says something else, such as a page with scripts, means it.
            added = [pair for pair in self._added() if pair[0] not in names]
            message = {**message, "headers": told + added}
            if (b"content-type", EVENT_STREAM) in told:
                self.end()  # how long a client listens is not how long its answer took
        if not message.get("more_body", message["type"] == "http.response.start" and not self._is_head):
            self.end()
        await self._send(message)

    def _added(self) -> tuple[tuple[bytes, bytes], ...]:
        return (*_HEADERS, _CLOSE) if self._is_last or self._awaits_word else _HEADERS

    def end(self) -> None:
        """Counts it, once; an answer that was never begun has nothing to count."""
        if self.status is not None and not self._is_counted:
            self._is_counted = True
            seconds = time.monotonic() - self._started
            self._recorder.http_answered(_route(self._scope), self._scope["method"], self.status, seconds)


def failed(scope: Scope) -> Response:
    """The answer where spotd itself is at fault: never what went wrong, which the log has."""
    if scope["path"].startswith("/api/"):
        return refused(scope, Code.INTERNAL, "Internal error: see the log.")
    return PlainTextResponse("Internal error: see the log.\n", status_code=500)


def _route(scope: Scope) -> str:
    route: Any = scope.get("route")
    return getattr(route, "path", None) or UNMATCHED
