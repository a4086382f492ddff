"""How often one client may ask, counted by the `limits` library in this process's memory."""

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.types import Scope

from spotd.settings.api import ApiSettings
from spotd.web.addresses import counted_address, plain_address
from spotd.web.api.envelope import Code, Refusal

SWEEP_SECONDS = 5.0
"""How long counts of clients that do not come back stay beyond their minute."""


class Kind(StrEnum):
    """What is counted apart."""

    READ = "read"
    WRITE = "write"
    REFRESH = "refresh"
    FAILED_LOGIN = "failed login"


class _SparselySwept(MemoryStorage):
    """The library's storage, which by itself starts a thread for nearly each request to forget what lapsed.

    To start one is to wait until it runs: milliseconds on the event loop while a collection keeps the
    interpreter busy. It asks its timer whether a sweep is to come; so this stands for the timer.
    """

    @property
    def timer(self) -> Any:
        """What the library asks."""
        return self

    @timer.setter
    def timer(self, timer: threading.Timer) -> None:
        self._timer = timer
        self._begins_at = time.monotonic()

    def is_alive(self) -> bool:
        """Whether it is too early for the next sweep."""
        return time.monotonic() < self._begins_at + SWEEP_SECONDS or self._timer.is_alive()

    def start(self) -> None:
        """Begins a sweep."""
        self._timer.start()


class Throttle:
    """Counts requests by client and kind."""

    def __init__(self, settings: Callable[[], ApiSettings]) -> None:
        self._settings = settings
        self._limiter = FixedWindowRateLimiter(_SparselySwept())

    def count(self, kind: Kind, client: str) -> None:
        """Counts one.

        Raises:
            Refusal: 429, with the seconds to wait.
        """
        limit = self._limit(kind)
        if not self._limiter.hit(limit, kind, client):
            raise self._refusal(kind, limit, client)

    def charge(self, kind: Kind, client: str, weight: int) -> None:
        """Counts something that was let on, as so many; refuses nothing."""
        self._limiter.hit(self._limit(kind), kind, client, cost=weight)

    def check(self, kind: Kind, client: str) -> None:
        """Refuses without counting.

        Raises:
            Refusal: 429, with the seconds to wait.
        """
        limit = self._limit(kind)
        if not self._limiter.test(limit, kind, client):
            raise self._refusal(kind, limit, client)

    def _limit(self, kind: Kind) -> RateLimitItemPerMinute:
        settings = self._settings()
        return RateLimitItemPerMinute(
            {
                Kind.READ: settings.reads_per_minute,
                Kind.WRITE: settings.writes_per_minute,
                Kind.REFRESH: settings.refreshes_per_minute,
                Kind.FAILED_LOGIN: settings.failed_logins_per_minute,
            }[kind]
        )

    def _refusal(self, kind: Kind, limit: RateLimitItemPerMinute, client: str) -> Refusal:
        reset = self._limiter.get_window_stats(limit, kind, client).reset_time
        wait = max(1, round(reset - time.time()))
        sentence = f"More than {limit.amount} requests a minute ({kind}): try again in {wait} s."
        return Refusal(Code.RATE_LIMITED, sentence, headers={"Retry-After": str(wait)})


def address_of(scope: Scope) -> str:
    """The client's address, as the connection has it."""
    client = scope.get("client")
    return plain_address(str(client[0])) if client else "unknown"


def client_of(request: Request) -> str:
    """The client as it is counted: its address, of IPv6 the network that one customer has."""
    return counted_address(address_of(request.scope))
