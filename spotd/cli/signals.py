"""Signals as something to wait for, one by one."""

import signal
import socket
import time
from types import TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Keeps SIGTERM, SIGINT and SIGHUP from ending the process, and tells of each.

    The kernel may hand a signal to any thread, and Python runs handlers in the main thread only, once that
    does something: a main thread that waits for a lock may never notice. So the number comes by a socket.
    """

    def __enter__(self) -> Self:
        """Begins to listen; only the main thread may."""
        self._here, self._there = socket.socketpair()
        self._there.setblocking(False)
        self._fd_before = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _noted) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the signals back their former meanings."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)
        self._here.close()
        self._there.close()

    def wait(self, until: float | None = None) -> int | None:
        """The next signal; None where none came until this `time.monotonic()`."""
        left = None if until is None else max(0.001, until - time.monotonic())
        self._here.settimeout(left)
        try:
            return self._here.recv(1)[0]
        except TimeoutError:
            return None


def _noted(number: int, frame: Any) -> None:
    """The wake-up socket has told already."""
