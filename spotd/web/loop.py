"""The event loop of the HTTP server: asyncio's own, with less patience for TLS."""

import asyncio
from typing import Any

HANDSHAKE_SECONDS = 10.0
"""asyncio waits a minute, and until a handshake ends nobody counts its connection."""


class HandshakingLoop(asyncio.SelectorEventLoop):
    """Its servers let a client go that does not shake hands in time."""

    async def create_server(self, *arguments: Any, **keywords: Any) -> asyncio.Server:
        """A server, as asyncio makes it."""
        if keywords.get("ssl") is not None:
            keywords.setdefault("ssl_handshake_timeout", HANDSHAKE_SECONDS)
        return await super().create_server(*arguments, **keywords)
