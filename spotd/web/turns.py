"""A costly thing is done for few at once, and for each client in its turn, however much others ask for."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Crowded(Exception):  # noqa: N818 - an answer, not a failure
    """So many wait already, of this client or in all, that this one is not let in."""


class Turns:
    """Lets `at_once` on together; of those who wait one of each client, then again one of each.

    Lives on the event loop.
    """

    def __init__(self, at_once: int, *, most_waiting: int, most_of_one: int) -> None:
        self._free = at_once
        self._most_waiting = most_waiting
        self._most_of_one = most_of_one
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """By client, the one whose turn is next first."""

    @asynccontextmanager
    async def turn(self, client: Hashable) -> AsyncIterator[None]:
        """Waits for the client's turn, and holds it.

        Raises:
            Crowded: Too many wait.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._hand_on()

    async def _wait(self, client: Hashable) -> None:
        mine = self._waiting.get(client, ())
        if len(mine) >= self._most_of_one or sum(map(len, self._waiting.values())) >= self._most_waiting:
            raise Crowded
        called = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._hand_on()  # it was called, and does not come
            raise

    def _hand_on(self) -> None:
        """Calls the next who still waits."""
        while self._waiting:
            client, queue = self._waiting.popitem(last=False)
            called = queue.popleft()
            if queue:
                self._waiting[client] = queue  # behind all others
            if not called.done():
                called.set_result(None)
                return
        self._free += 1
