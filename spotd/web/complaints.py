"""Log lines that strangers can cause: of each kind one a minute, however fast they are."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

QUIET_SECONDS = 60.0
"""Between two lines of one kind, however often it happens."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Kind:
    told_at: float = float("-inf")
    untold: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    """Facts of the last one that nobody was told of."""


class Complaints:
    """Tells the first of a kind at once, and each minute how many there were since; lives on the event loop.

    Kinds are an event and what it is `about`: words of the code, so that there are few. What a line says
    of one client is of the last one; `refused` in it says how many there were since the line before.
    """

    def __init__(
        self,
        count: Callable[[str], None] = lambda _reason: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count` is told the reason of each, for the metrics."""
        self._count = count
        self.monotonic = monotonic
        self._kinds: dict[tuple[str, str, int], _Kind] = {}

    def tell(
        self, event: str, *, reason: str, about: str = "", level: int = logging.WARNING, **facts: Any
    ) -> None:
        """Something was refused or went wrong for this reason."""
        self._count(reason)
        key = (event, about, level)
        kind = self._kinds.setdefault(key, _Kind())
        kind.untold += 1
        kind.last = facts
        self._tell_where_due(key, kind)

    def flush(self) -> None:
        """Tells what nobody was told of and is a minute after the last line; to be called now and then."""
        for key, kind in self._kinds.items():
            if kind.untold:
                self._tell_where_due(key, kind)

    def _tell_where_due(self, key: tuple[str, str, int], kind: _Kind) -> None:
        now = self.monotonic()
        if now - kind.told_at < QUIET_SECONDS:
            return
        event, _, level = key
        log.log(level, event, **kind.last, refused=kind.untold)
        kind.told_at, kind.untold, kind.last = now, 0, {}
