"""A question whose answer is needed only later, asked in a thread of its own meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from spotd.clouds.transport import calling

AHEAD_SECONDS = 60.0
"""Longest time for all its requests together: the deadline of the thread that waits does not reach here."""

Answer = TypeVar("Answer")


class Ahead(Generic[Answer]):
    """Asks at once; who no longer wants the answer just drops this."""

    def __init__(self, ask: Callable[[], Answer], name: str) -> None:
        self._future: Future[Answer] = Future()
        threading.Thread(target=self._run, args=(ask, name), name=f"spotd {name}", daemon=True).start()

    def answer(self) -> Answer:
        """The answer, waited for.

        Raises:
            Exception: Whatever asking raised.
        """
        return self._future.result()

    def _run(self, ask: Callable[[], Answer], name: str) -> None:
        try:
            with calling("agent", name, AHEAD_SECONDS):
                self._future.set_result(ask())
        except Exception as error:  # noqa: BLE001 - the edge of a thread: `answer` raises it
            self._future.set_exception(error)
