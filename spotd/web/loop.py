"""The event loop of the HTTP server: asyncio's own, with less patience for TLS and fewer words."""

import asyncio
from collections.abc import Callable
from typing import Any

from spotd.web.accepting import NOTHING_LEFT
from spotd.web.complaints import Complaints

HANDSHAKE_SECONDS = 10.0
"""asyncio waits a minute, and until a handshake ends no request's time has begun."""


class HandshakingLoop(asyncio.SelectorEventLoop):
    """Its servers let a client go that does not shake hands in time."""

    async def create_server(self, *arguments: Any, **keywords: Any) -> asyncio.Server:
        """A server, as asyncio makes it."""
        if keywords.get("ssl") is not None:
            keywords.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **keywords)


def sparing(complaints: Complaints) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """A loop's exception handler that tells of errors as complaints; asyncio's own logs each of them."""

    def handle(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in NOTHING_LEFT:
            return  # whoever accepts has told it
        complaints.tell("connection failed", reason="error", what=context.get("message"), exc_info=error)

    return handle
