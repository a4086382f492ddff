"""A session that is lent call by call, and closed once the last call that borrowed it has ended."""

import threading
from collections.abc import Callable


class Lending:
    """Counts who is in a call; whoever ends the last one after `retire` closes."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._lock = threading.Lock()
        self._borrowed = 0
        self._is_retired = False

    @property
    def is_over(self) -> bool:
        """Whether it is retired and nobody is in a call any more."""
        with self._lock:
            return self._is_retired and self._borrowed == 0

    def borrow(self) -> bool:
        """Begins a call, to be ended by `give_back`; False: it is retired and nothing was begun."""
        with self._lock:
            if self._is_retired:
                return False
            self._borrowed += 1
            return True

    def give_back(self) -> None:
        """Ends a call."""
        with self._lock:
            self._borrowed -= 1
            is_last = self._is_retired and self._borrowed == 0
        if is_last:
            self._close()

    def retire(self) -> None:
        """Lends no more; closes at once where nobody is in a call."""
        with self._lock:
            self._is_retired = True
            is_idle = self._borrowed == 0
        if is_idle:
            self._close()
