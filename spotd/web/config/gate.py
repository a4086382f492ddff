"""Headers, rate limit and basic authentication before everything else, as the web configuration asks."""

import base64
import binascii
import time
from collections.abc import Callable

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotd.web.addresses import counted_address
from spotd.web.api.auth import USER
from spotd.web.api.envelope import Refusal
from spotd.web.api.throttle import Throttle, address_of
from spotd.web.config.models import RateLimit, WebConfig
from spotd.web.config.passwords import Passwords

OUTCOMES_KEPT = 1000
"""Passwords whose check is remembered, by their hashes: bcrypt takes a tenth of a second each time."""


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

    def __init__(self, app: ASGIApp, config: Callable[[], WebConfig], throttle: Throttle) -> None:
        """`throttle` counts wrong passwords."""
        self._app = app
        self._config = config
        self._bucket = Bucket(config().rate_limit)
        self._passwords = Passwords(throttle, OUTCOMES_KEPT)

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
            name, password = _basic(dict(scope["headers"]).get(b"authorization", b""))
            answer = await self._refusal(scope, config, name, password)
            if answer is not None:
                await answer(scope, receive, send)
                return
            scope[USER] = name
        await self._app(scope, receive, send)

    async def _refusal(self, scope: Scope, config: WebConfig, name: str, password: bytes) -> Response | None:
        """Why the request does not go on; None where the password is right."""
        address = counted_address(address_of(scope))
        try:
            if await self._passwords.are_right(config.basic_auth_users, name, password, address):
                return None
        except Refusal as refusal:
            return PlainTextResponse(f"{refusal.message}\n", 429, refusal.headers)
        return PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": "Basic"})


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
