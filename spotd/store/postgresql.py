"""Connections to PostgreSQL that give up by themselves.

A server whose process stands still has a kernel that goes on acknowledging, so that neither its own time
limits nor those of TCP ever end a wait for its answer.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg

ANSWER_SECONDS = 12.0
"""Longest wait for one answer: a server that runs ends its statement by itself after 10 s."""
_answer_by: ContextVar[float | None] = ContextVar("answer_by", default=None)


@contextmanager
def answering_within(seconds: float) -> Iterator[None]:
    """All that is asked in this block, connecting too, is answered within so long or fails."""
    token = _answer_by.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _answer_by.reset(token)


def connect(parameters: dict[str, Any]) -> psycopg.Connection[Any]:
    """A connection on which each wait for the server ends within so long, or sooner as the block says.

    Raises:
        psycopg.OperationalError: The server does not answer, or says no.
    """
    left = _left()
    if left is not None:
        if left <= 0:
            raise psycopg.OperationalError("the server does not answer")
        given = float(parameters.get("connect_timeout") or left)
        parameters = {**parameters, "connect_timeout": max(1, round(min(given, left)))}
    return _Bounded.connect(**parameters)


def _left() -> float | None:
    answer_by = _answer_by.get()
    return None if answer_by is None else answer_by - time.monotonic()


class _Bounded(psycopg.Connection[Any]):
    """A connection that is closed where a wait on it took too long."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **keywords: Any) -> Any:
        left = _left()
        seconds = ANSWER_SECONDS if left is None else max(0.0, min(ANSWER_SECONDS, left))
        return super().wait(self._until(gen, time.monotonic() + seconds, seconds), *args, **keywords)

    def _until(
        self, gen: Generator[Any, Any, Any], give_up_at: float, seconds: float
    ) -> Generator[Any, Any, Any]:
        """The same steps, resumed by psycopg each tenth of a second even where nothing came."""
        try:
            ready = yield next(gen)
            while True:
                step = gen.send(ready)
                if time.monotonic() >= give_up_at:
                    # What was asked may be answered at any time: nobody may ask on this connection again.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"the server has not answered for {seconds:.1f} s")
                ready = yield step
        except StopIteration as done:
            return done.value
