"""Answers from the snapshot: each is made once, in a thread, for all who ask for the same part of it.

Everything here but the making runs on the event loop. While a collection keeps the interpreter busy, each way
to a thread and back costs milliseconds; an answer that is kept takes none of them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from anyio import CapacityLimiter, to_thread
from cachetools import LRUCache
from fastapi import Request, Response

from spotd.fleet.snapshot import FleetSnapshot
from spotd.web.api.envelope import enclosed, json_of

KEPT_BYTES = 8 * 2**20
"""All answers of one snapshot with their questions: those of strangers push out what nobody asks for."""
LARGEST_KEPT_BYTES = 2 * 2**20
"""A longer one is made each time: 1,000 hosts are half a megabyte."""
ENTRY_BYTES = 512
"""What an entry costs beside its question and its answer."""
OWN_THREADS = 2
"""What waits for a journal or a cloud in the other threads keeps nobody from the snapshot."""
Key = tuple[str, bytes]


class _Answer(NamedTuple):
    data: bytes
    cost: int


class Kept:
    """The data of answers as JSON, for as long as the snapshot that they are from is the latest."""

    def __init__(self) -> None:
        self._snapshot: FleetSnapshot | None = None
        self._made: LRUCache[Key, _Answer] = LRUCache(KEPT_BYTES, getsizeof=lambda answer: answer.cost)
        self._making: dict[Key, asyncio.Future[bytes]] = {}
        self._own_threads = CapacityLimiter(OWN_THREADS)

    async def told(self, request: Request, snapshot: FleetSnapshot, make: Callable[[], Any]) -> Response:
        """What `make` returns, or returned to the same question about the same snapshot, in its envelope.

        Raises:
            Refusal: `make` does.
        """
        key = (request.scope["path"], request.scope["query_string"])
        data = await self._data(snapshot, key, make)
        return enclosed(request, data, snapshot_timestamp=snapshot.assembled_at.timestamp())

    async def _data(self, snapshot: FleetSnapshot, key: Key, make: Callable[[], Any]) -> bytes:
        if self._snapshot is not snapshot:
            self._snapshot, self._making = snapshot, {}
            self._made.clear()
        kept = self._made.get(key)
        if kept is not None:
            return kept.data
        making = self._making.get(key)
        if making is None or making.done():
            making = asyncio.ensure_future(
                to_thread.run_sync(lambda: json_of(make()), limiter=self._own_threads)
            )
            self._making[key] = making
            making.add_done_callback(lambda done: self._keep(snapshot, key, done))
        # Shielded: one client that leaves must not cancel what the others wait for.
        return await asyncio.shield(making)

    def _keep(self, snapshot: FleetSnapshot, key: Key, done: "asyncio.Future[bytes]") -> None:
        if self._making.get(key) is done:
            del self._making[key]
        if done.cancelled() or done.exception() is not None or self._snapshot is not snapshot:
            return
        data, (path, query) = done.result(), key
        if len(data) <= LARGEST_KEPT_BYTES:
            self._made[key] = _Answer(data, len(data) + len(path) + len(query) + ENTRY_BYTES)
