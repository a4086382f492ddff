"""How many connections there may be, of one address and of all, so that none can take all of them."""

import time
from collections import Counter
from collections.abc import Callable
from math import ceil

from spotd.web.addresses import counted_address
from spotd.web.complaints import Complaints

MOST_CONNECTIONS = 900
"""Below the usual limit of 1,024 open files; further clients get a 503."""


class Connections:
    """Counts open connections; lives on the event loop."""

    def __init__(
        self,
        most_per_address: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        *,
        most: int = MOST_CONNECTIONS,
        complaints: Complaints | None = None,
    ) -> None:
        """`most_per_address` is of the usual `MOST_CONNECTIONS`; of fewer each address has its part."""
        self._most_per_address = most_per_address
        self._most = most
        self._complaints = complaints or Complaints(monotonic=monotonic)
        self._open: Counter[str] = Counter()

    def enter(self, host: str) -> bool:
        """Counts a new one; False: this address, or all together, hold as many as they may."""
        address, most = counted_address(host), self._most_of_one()
        if self._open[address] >= most:
            self._complaints.tell("connections refused", reason="address", address=address, most=most)
            return False
        if self.is_full:
            self._complaints.tell(
                "connections refused, all are taken", reason="connections", address=address, most=self._most
            )
            return False
        self._open[address] += 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether nobody is let in, whoever it is."""
        return self._open.total() >= self._most

    def leave(self, host: str) -> None:
        """One that was let in has ended."""
        address = counted_address(host)
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _most_of_one(self) -> int:
        return ceil(self._most_per_address() * min(self._most, MOST_CONNECTIONS) / MOST_CONNECTIONS)
