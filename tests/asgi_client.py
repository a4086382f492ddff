"""Asks an ASGI application as a client at an address that no test could connect from."""

import asyncio
from typing import Any


def asked(
    app: Any, method: str, path: str, client: tuple[str, int] | None, *headers: tuple[bytes, bytes]
) -> int:
    """The status of the answer."""
    return asyncio.run(status_of(app, method, path, client, *headers))


async def status_of(
    app: Any, method: str, path: str, client: tuple[str, int] | None, *headers: tuple[bytes, bytes]
) -> int:
    """The same on the event loop, where other requests are under way."""
    sent: list[dict[str, Any]] = []
    path, _, query = path.partition("?")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), *headers],
        "client": client,
        "server": ("192.0.2.1", 8080),
        "scheme": "http",
        "root_path": "",
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])
