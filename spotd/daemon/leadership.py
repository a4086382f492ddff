"""Who acts: the lease, renewed in time, given up at the end, lost when the journal is."""

import structlog

from spotd.store.errors import JournalLost, StoreError
from spotd.store.lease import Lease
from spotd.store.records import LeaseHolder

RENEWALS = 3
"""Renewals in the lifetime of a lease: two may fail before it lapses."""

log = structlog.get_logger(__name__)


class Leadership:
    """Holds the lease as long as it can."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._was_leader = False
        self._answered: bool | None = None
        self._told: str | None = None

    @property
    def token(self) -> int | None:
        """The fencing token while the lease is surely held; asks nobody."""
        return self._lease.token

    @property
    def store_answered(self) -> bool | None:
        """Whether the journal answered last time and is the one that was opened; None before the first time.

        Asks no database. A renewal that waits for longer than until the next one is due has no answer.
        """
        if self._lease.is_journal_lost or self._lease.asking_seconds > self._lease.ttl_seconds / RENEWALS:
            return False
        return self._answered

    def renew(self) -> bool:
        """Takes or renews the lease; True where it was just won."""
        try:
            token = self._lease.try_acquire()
            if self._told is not None:
                log.info("journal answers again")
            self._answered, self._told = True, None
        except StoreError as error:
            event = "journal lost" if isinstance(error, JournalLost) else "journal does not answer"
            if event != self._told:
                log.error(event, reason=str(error))  # noqa: TRY400 - a sentence is enough
            self._answered, self._told = False, event
            token = self.token
        won, lost = token is not None and not self._was_leader, token is None and self._was_leader
        if won:
            log.info("leading", term=token)
        if lost:
            log.warning("not leading any more")
        self._was_leader = token is not None
        return won

    def holder(self) -> LeaseHolder | None:
        """Who leads, this daemon or another; None where nobody does.

        Raises:
            StoreError: The journal cannot be read.
        """
        return self._lease.holder()

    def give_up(self) -> None:
        """Lets another take over at once."""
        try:
            self._lease.release()
        except StoreError as error:
            log.warning("lease not given up", reason=str(error))
