"""The log of requests that the embedded cloud has answered."""

import threading
from collections import Counter, deque
from dataclasses import dataclass

KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request; `status` 0 means that no answer was sent."""

    service: str
    method: str
    path: str
    query: str
    microversion: str | None
    status: int
    bytes_out: int
    seconds: float


class Traffic:
    """The last 200,000 requests, in the order of their ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[Request] = deque(maxlen=KEPT)

    def add(self, request: Request) -> None:
        """Write down a request."""
        with self._lock:
            self._requests.append(request)

    def snapshot(self) -> tuple[Request, ...]:
        """Everything so far."""
        with self._lock:
            return tuple(self._requests)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._requests.clear()

    def count(self) -> Counter[tuple[str, str, str]]:
        """How many requests by service, method and path."""
        return Counter((one.service, one.method, one.path) for one in self.snapshot())

    def __len__(self) -> int:
        with self._lock:
            return len(self._requests)
