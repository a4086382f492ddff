"""Who acts: the lease, renewed in time, given up at the end, lost when the database is."""

import structlog

from spotd.store.errors import StoreError
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
        self.store_answered: bool | None = None
        """Whether the database answered last time; None before the first."""

    @property
    def token(self) -> int | None:
        """The fencing token while the lease is surely held; asks nobody."""
        return self._lease.token

    def renew(self) -> bool:
        """Takes or renews the lease; True where it was just won."""
        try:
            token = self._lease.try_acquire()
            self.store_answered = True
        except StoreError as error:
            if self.store_answered is not False:
                log.error("journal does not answer", reason=str(error))  # noqa: TRY400 - a sentence is enough
            self.store_answered = False
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
