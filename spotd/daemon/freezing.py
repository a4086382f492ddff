"""Whether moves are frozen: by a person, by a file that is dropped, or by spotd itself."""

import os
from datetime import datetime
from pathlib import Path

import structlog

from spotd.clock import Clock
from spotd.settings.files import open_regular
from spotd.store.journal import Journal
from spotd.store.moves import LONGEST_REASON
from spotd.store.records import Freeze, MoveRecord, MoveState

FAILURES = "failures"
"""Name of the journal's memory that counts moves taken back one after the other."""

log = structlog.get_logger(__name__)


class Freezing:
    """Freezes in the journal and in a file."""

    def __init__(self, journal: Journal, clock: Clock, *, file: Path | None, after_failures: int) -> None:
        self._journal = journal
        self._clock = clock
        self._file = file
        self._after_failures = after_failures

    def current(self) -> Freeze | None:
        """What freezes all moves now; the file goes before the journal.

        Raises:
            StoreError: The journal cannot be read.
        """
        return self._by_file() or self._journal.current_freeze(self._clock.now())

    def ended(self, record: MoveRecord, *, token: int) -> None:
        """Freezes after so many failures in a row; giving way is none. A stranded host has frozen already.

        Raises:
            LeaseLost: Somebody else leads.
            StoreError: The journal cannot be written.
        """
        if record.state is MoveState.STRANDED and record.resolved_at is None:
            log.error("frozen", reason=f"host {record.order.host} is stranded: {record.sentence}")
        gave_way = record.state is MoveState.UNDONE and record.code is not None
        if gave_way or record.state not in (MoveState.UNDONE, MoveState.DONE):
            return
        count = 0
        if record.state is MoveState.UNDONE:
            count = int((self._journal.memory(FAILURES) or {}).get("count", 0)) + 1
        if count >= self._after_failures:
            self._freeze(f"{count} moves in a row were taken back, the last: {record.sentence}")
            count = 0
        self._journal.save_memory(FAILURES, {"count": count}, token=token)

    def _freeze(self, reason: str) -> None:
        self._journal.freeze(reason[:LONGEST_REASON], "spotd", now=self._clock.now())
        log.error("frozen", reason=reason)

    def _by_file(self) -> Freeze | None:
        if self._file is None:
            return None
        try:
            with open_regular(self._file) as file:
                reason = file.readline(LONGEST_REASON).decode("utf-8", "replace").strip()
                changed_at = os.fstat(file.fileno()).st_mtime
            since = datetime.fromtimestamp(changed_at, self._clock.now().tzinfo)
        except FileNotFoundError:
            return None
        except (OverflowError, ValueError):  # a time that no calendar has
            since = self._clock.now()
        except OSError as error:
            # A file that is there and cannot be read is no permission to move.
            reason, since = f"cannot be read: {error.strerror}", self._clock.now()
        return Freeze(
            reason=f"{self._file}: {reason or 'no reason given'}", by="file", since=since, until=None
        )
