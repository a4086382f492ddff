"""A bounded number of requests that wait for a cloud or the journal at once; the others are told so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from spotd.web.api.envelope import Code, Refusal


class Places:
    """So many may be in at once."""

    def __init__(self, count: int, awaited: str = "the cloud") -> None:
        self._awaited = awaited
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Holds a place.

        Raises:
            Refusal: None is free.
        """
        if not self._free.acquire(blocking=False):
            raise Refusal(
                Code.BUSY,
                f"Too many requests wait for {self._awaited}: try again.",
                headers={"Retry-After": "1"},
            )
        try:
            yield
        finally:
            self._free.release()
