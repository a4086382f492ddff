"""Headers, rate limit and basic authentication before everything else, as the web configuration asks."""

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable

import bcrypt
from cachetools import LRUCache
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotd.web.api.auth import USER
from spotd.web.config.models import RateLimit, WebConfig

OUTCOMES_KEPT = 1000
"""Passwords whose check is remembered, by their hashes: bcrypt takes a tenth of a second each time."""
LONGEST_PASSWORD_BYTES = 72
"""bcrypt looks no further."""
_NOBODY = "$2b$10$HsDJoUDkEVz2nN9xJvTvQ.6HbS2WqyVzRzqxBvU9ylvUlXIcIo5YS"
"""Compared where the user is unknown, so that the time does not tell who exists."""


class Bucket:
    """The toolkit's rate limit: `burst` requests at once, then one each interval, whoever asks."""

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._filled_at = monotonic()

    def take(self) -> bool:
        """Whether a request may go on."""
        interval = self.limit.interval.total_seconds()
        if not interval:
            return True
        now = self._monotonic()
        self._tokens = min(float(self.limit.burst), self._tokens + (now - self._filled_at) / interval)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ConfiguredGate:
    """Wraps an application; without a web configuration it is not there."""

    def __init__(self, app: ASGIApp, config: Callable[[], WebConfig]) -> None:
        self._app = app
        self._config = config
        self._bucket = Bucket(config().rate_limit)
        # Apart, so that whoever guesses pushes out no right one: its user would then wait behind the guesses.
        self._right: LRUCache[bytes, bool] = LRUCache(OUTCOMES_KEPT)
        self._wrong: LRUCache[bytes, bool] = LRUCache(OUTCOMES_KEPT)
        self._one_at_a_time: asyncio.Lock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        config = self._config()
        send = _with_headers(send, config.http_server_config.headers)
        if self._bucket.limit != config.rate_limit:
            self._bucket = Bucket(config.rate_limit)
        if not self._bucket.take():
            await PlainTextResponse("Too Many Requests\n", 429)(scope, receive, send)
            return
        if config.basic_auth_users:
            user = await self._user(scope, config)
            if user is None:
                challenge = {"WWW-Authenticate": "Basic"}
                await PlainTextResponse("Unauthorized\n", 401, challenge)(scope, receive, send)
                return
            scope[USER] = user
        await self._app(scope, receive, send)

    async def _user(self, scope: Scope, config: WebConfig) -> str | None:
        """The user whose password is right."""
        name, password = _basic(dict(scope["headers"]).get(b"authorization", b""))
        hashed = config.basic_auth_users.get(name, _NOBODY)
        key = hashlib.sha256(b"\0".join((hashed.encode(), password))).digest()
        good = self._known(key)
        if good is None:
            if self._one_at_a_time is None:
                self._one_at_a_time = asyncio.Lock()
            async with self._one_at_a_time:  # whoever guesses gets one processor, not all
                good = self._known(key)
                if good is None:
                    good = await run_in_threadpool(_is_right, password, hashed)
                    (self._right if good else self._wrong)[key] = good
        return name if good and name in config.basic_auth_users else None

    def _known(self, key: bytes) -> bool | None:
        right = self._right.get(key)
        return self._wrong.get(key) if right is None else right


def _is_right(password: bytes, hashed: str) -> bool:
    try:
        return bcrypt.checkpw(password[:LONGEST_PASSWORD_BYTES], hashed.encode())
    except ValueError:
        return False


def _basic(header: bytes) -> tuple[str, bytes]:
    """User and password of an Authorization header; empty where there are none."""
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return "", b""
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return name.decode(), password
    except (binascii.Error, UnicodeDecodeError):
        return "", b""


def _with_headers(send: Send, headers: dict[str, str]) -> Send:
    """Sends the configured headers, in place of those of the same name."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items() if value]
    if not pairs:
        return send
    names = {name for name, _ in pairs}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() not in names]
            message = {**message, "headers": kept + pairs}
        await send(message)

    return sending
