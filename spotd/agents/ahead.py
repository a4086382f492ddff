"""A question whose answer is needed only later, asked in a thread of its own meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from spotd.clouds.transport import calling, remaining_seconds

AHEAD_SECONDS = 60.0
"""Longest time for all its requests together where whoever asks has no deadline."""

Answer = TypeVar("Answer")


class Ahead(Generic[Answer]):
    """Asks at once, within the deadline of whoever asks; who no longer wants the answer just drops this."""

    def __init__(self, ask: Callable[[], Answer], name: str) -> None:
        self._future: Future[Answer] = Future()
        # A deadline belongs to its thread: the new one is told what is left of it.
        left = remaining_seconds()
        seconds = AHEAD_SECONDS if left is None else left
        thread = threading.Thread(
            target=self._run, args=(ask, name, seconds), name=f"spotd {name}", daemon=True
        )
        thread.start()

    def answer(self) -> Answer:
        """The answer, waited for.

        Raises:
            Exception: Whatever asking raised.
        """
        return self._future.result()

    def _run(self, ask: Callable[[], Answer], name: str, seconds: float) -> None:
        try:
            with calling("agent", name, seconds):
                self._future.set_result(ask())
        except Exception as error:  # noqa: BLE001 - the edge of a thread: `answer` raises it
            self._future.set_exception(error)
