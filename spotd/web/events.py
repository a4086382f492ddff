"""Server-sent events: what happens is told to every open stream, each of which holds only so much.

A stream whose client reads slower than things happen loses the oldest of what it has not read, and is
told how many: its client then reads anew. Streams are tasks of the event loop, not threads.
"""

import asyncio
import itertools
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.types import Receive, Scope, Send

EVENTS_KEPT = 64
"""Unread events of one stream: references to texts that all streams share."""
KEEP_ALIVE_SECONDS = 15.0
"""A comment is sent where nothing happens for so long: proxies cut silent connections after 30 to 60 s."""
LONGEST_SECONDS = 3600.0
"""Then the client connects anew, as browsers do by themselves, and shows its credential again."""
RETRY_MILLISECONDS = 3000
Ask = Callable[[], Awaitable[bool]]
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
)


class TooManyStreams(Exception):  # noqa: N818 - a refusal is an answer
    """As many streams are open as may be."""


class EventHub:
    """Takes events from any thread and hands them to the streams."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._streams: set[_Stream] = set()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._is_closed = False

    def publish(self, event: str, data: Mapping[str, Any]) -> None:
        """Tells all streams; never waits, and costs nothing while none is open."""
        with self._lock:
            loop = self._loop
            if loop is None or not self._streams:
                return
            text = encoded(event, data, number=next(self._numbers))
            try:
                # Under the lock, so that two threads' events come in the order of their numbers.
                loop.call_soon_threadsafe(self._hand_out, text)
            except RuntimeError:  # the server stopped meanwhile, and its streams with it
                return

    def close(self) -> None:
        """Ends every stream, so that a server that stops need not wait for their clients; opens no more."""
        with self._lock:
            self._is_closed = True
            loop = self._loop
            if loop is None or not self._streams:
                return
            try:
                loop.call_soon_threadsafe(self._end_all)
            except RuntimeError:  # the server stopped before
                return

    def count(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    def open(
        self, most: int, *, client: str = "", most_of_client: int | None = None, may_go_on: Ask | None = None
    ) -> "_Stream":
        """A new stream, on the event loop that serves it.

        It ends where `may_go_on` says no: that is asked again and again, and so is a credential by the end.

        Raises:
            TooManyStreams: There are `most` already, or `most_of_client` of this client; or the server stops.
        """
        with self._lock:
            own = sum(stream.client == client for stream in self._streams)
            if self._is_closed or len(self._streams) >= most or own >= (most_of_client or most):
                raise TooManyStreams
            self._loop = asyncio.get_running_loop()
            stream = _Stream(self._closed, client, may_go_on)
            self._streams.add(stream)
            return stream

    def _closed(self, stream: "_Stream") -> None:
        with self._lock:
            self._streams.discard(stream)

    def _end_all(self) -> None:
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.end()

    def _hand_out(self, text: bytes) -> None:
        with self._lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.put(text)


class _Stream:
    """One client's stream, as an ASGI answer."""

    def __init__(self, closed: Callable[["_Stream"], None], client: str, may_go_on: Ask | None) -> None:
        self.client = client
        self._closed = closed
        self._may_go_on = may_go_on
        self._unread: deque[bytes] = deque(maxlen=EVENTS_KEPT)
        self._lost = 0
        self._has_news = asyncio.Event()
        self._began_at = 0.0
        self._asked_at: float | None = None
        self._is_ended = False

    def put(self, text: bytes) -> None:
        """Keeps it until the client has taken it, in place of the oldest where there is no room."""
        self._lost += len(self._unread) == EVENTS_KEPT
        self._unread.append(text)
        self._has_news.set()

    def end(self) -> None:
        """Sends what is unread, and no more."""
        self._is_ended = True
        self._has_news.set()

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Sends what happens until the client or the server leaves."""
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
            await _say(send, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            while not self._is_ended and not leaving.done() and await self._may_still():
                await self._wait(leaving)
                await _say(send, self._take())
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self._closed(self)

    async def _may_still(self) -> bool:
        """Whether who listens is still let in: asked not more often than comments are sent."""
        now = asyncio.get_running_loop().time()
        if self._asked_at is None:
            self._began_at = self._asked_at = now
        if now - self._began_at >= LONGEST_SECONDS:
            return False
        if self._may_go_on is None or now - self._asked_at < KEEP_ALIVE_SECONDS:
            return True
        self._asked_at = now
        return await self._may_go_on()

    async def _wait(self, leaving: "asyncio.Future[None]") -> None:
        news = asyncio.ensure_future(self._has_news.wait())
        try:
            await asyncio.wait(
                (news, leaving), timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            news.cancel()

    def _take(self) -> bytes:
        """Everything that is unread, or a comment where nothing is."""
        self._has_news.clear()
        parts = [encoded("lost", {"events": self._lost})] if self._lost else []
        parts += self._unread
        self._unread.clear()
        self._lost = 0
        return b"".join(parts) or b": nothing happens\n\n"


def encoded(event: str, data: Mapping[str, Any], *, number: int | None = None) -> bytes:
    """An event as it goes over the wire; JSON has no line break that could end it early."""
    identity = "" if number is None else f"id: {number}\n"
    return f"{identity}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def _say(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
