"""Forced collections: one for all who ask at the same time, and never more often than the settings allow.

Whoever asks is answered by a collection that began after the asking, so that what they then read is not older
than their question. Nobody holds a thread while waiting.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from spotd.web.api.upkeep_views import Refreshed

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshOutcome:
    """What a forced collection did."""

    seconds: float
    failures: Mapping[str, str]
    unfinished: tuple[str, ...]


class RefreshFailed(Exception):  # noqa: N818 - what it is called in the answer
    """The collection did not happen; the log says why."""


class Refresher:
    """Runs forced collections in a thread of its own, which lives only while somebody waits for one."""

    def __init__(
        self, collect: Callable[[], RefreshOutcome], *, spacing_seconds: Callable[[], float]
    ) -> None:
        """`collect` forces all agents; between two beginnings lie at least `spacing_seconds()`."""
        self._collect = collect
        self._spacing_seconds = spacing_seconds
        self._lock = threading.Lock()
        self._waiting: Future[Refreshed] | None = None
        self._askers = 0
        self._is_running = False
        self._began_at = float("-inf")
        self._is_closed = threading.Event()

    def ask(self) -> "Future[Refreshed]":
        """The collection that answers this question; many may wait for it."""
        with self._lock:
            if self._waiting is None:
                self._waiting, self._askers = Future(), 0
            self._askers += 1
            future = self._waiting
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="spotd refresh", daemon=True).start()
            return future

    def close(self) -> None:
        """Nobody waits for its turn any more; a collection under way goes on."""
        self._is_closed.set()

    def _run(self) -> None:
        while True:
            wait = self._began_at + self._spacing_seconds() - time.monotonic()
            if wait > 0:
                self._is_closed.wait(wait)
            with self._lock:
                future, askers, self._waiting = self._waiting, self._askers, None
                if future is None:
                    self._is_running = False
                    return
            self._began_at = time.monotonic()
            self._answer(future, askers)

    def _answer(self, future: "Future[Refreshed]", askers: int) -> None:
        if self._is_closed.is_set():
            future.set_exception(RefreshFailed("spotd is stopping"))
            return
        try:
            outcome = self._collect()
        except Exception as error:  # the edge of a job: whoever waits must be told
            if not self._is_closed.is_set():
                log.exception("forced collection failed")
            failed = RefreshFailed(type(error).__name__)
            failed.__cause__ = error
            future.set_exception(failed)
            return
        future.set_result(
            Refreshed(
                duration=outcome.seconds,
                failures=dict(outcome.failures),
                unfinished=list(outcome.unfinished),
                asked_together=askers,
            )
        )
