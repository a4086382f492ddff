"""How many connections one address may hold, so that none can take all of them."""

import time
from collections import Counter
from collections.abc import Callable

import structlog

from spotd.web.addresses import counted_address

QUIET_SECONDS = 60.0
"""Between two log lines about refused connections, however many there are."""

log = structlog.get_logger(__name__)


class Connections:
    """Counts open connections; lives on the event loop."""

    def __init__(
        self, most_per_address: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_per_address = most_per_address
        self._monotonic = monotonic
        self._open: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._untold = 0

    def enter(self, host: str) -> bool:
        """Counts a new one; False: this address holds as many as it may."""
        address, most = counted_address(host), self._most_per_address()
        if self._open[address] >= most:
            self._tell(address, most)
            return False
        self._open[address] += 1
        return True

    def leave(self, host: str) -> None:
        """One that was let in has ended."""
        address = counted_address(host)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _tell(self, address: str, most: int) -> None:
        self._untold += 1
        now = self._monotonic()
        if now - self._told_at >= QUIET_SECONDS:
            log.warning("connections refused", address=address, most=most, refused=self._untold)
            self._told_at, self._untold = now, 0
