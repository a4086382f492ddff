"""The leader's lease: one holder at a time, and a fencing token that tells late writers from it."""

import threading
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from spotd.clock import Clock
from spotd.store.database import Database
from spotd.store.errors import JournalLost, LeaseLost
from spotd.store.identity import Mark
from spotd.store.records import LeaseHolder
from spotd.store.tables import LEADER, leases

_ROW = leases.c.name == LEADER
_ANSWERS = 3
"""A renewal that is not answered within this part of the lease's time has failed: others may follow in it."""


class Lease:
    """One daemon's claim to be the one that acts; safe for several threads.

    On PostgreSQL the server's time decides when it lapses, on SQLite the clock handed in.
    """

    def __init__(self, database: Database, holder: str, ttl: timedelta, clock: Clock) -> None:
        """Nothing is claimed yet; two claims differ even where both give the same name as holder."""
        self._database = database
        self._holder = holder
        self._ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._token: int | None = None
        self._held_until = 0.0
        self._asking_since: float | None = None
        self._seen: tuple[int, datetime] | None = None
        self._seen_at = 0.0

    @property
    def token(self) -> int | None:
        """The token while the lease is surely held, by this machine's own clock; asks nobody.

        Lapses by itself when the database cannot be reached to renew, and ends for good with the first look
        at which the file that is open is not the one at its path.
        """
        token = self._token
        if token is None or self._clock.monotonic() >= self._held_until:
            return None
        if self._database.loss() is not None:
            self._token = None
            return None
        return token

    @property
    def is_journal_lost(self) -> bool:
        """Whether the file that is open is surely not the journal any more; asks no database."""
        return self._database.loss() is not None

    @property
    def asking_seconds(self) -> float:
        """For how long a renewal has been waiting for the database; 0 while none does."""
        since = self._asking_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def try_acquire(self) -> int | None:
        """Take or renew the lease; its token, or None where another holds it.

        The token stays the same while the lease is renewed in time; a lease that lapsed gets a larger one.

        Raises:
            StoreError: The database failed; the lease that was held is held until it lapses.
            JournalLost: What is open is not the journal any more; no lease of it is held.
        """
        with self._lock:
            # Counted from before the database was asked, so that it never lasts longer here than there.
            begun = self._asking_since = self._clock.monotonic()
            try:
                self._database.examine()
                with self._database.write(within=self._answer_seconds) as connection:
                    token, mark = self._claimed(connection)
            except JournalLost:
                self._token = None
                raise
            finally:
                self._asking_since = None
            self._database.identity.saw(mark)
            self._token = token
            self._held_until = begun + self._ttl.total_seconds()
            return token

    def release(self) -> None:
        """Give the lease up, so that another need not wait for it to lapse; harmless where it is not held.

        Raises:
            StoreError: The database failed; the lease lapses by itself.
        """
        with self._lock:
            token, self._token = self._token, None
            if token is None:
                return
            with self._database.write(within=self._answer_seconds) as connection:
                mine = _ROW & (leases.c.token == token)
                connection.execute(update(leases).where(mine).values(holder=None, expires_at=None))

    def holder(self) -> LeaseHolder | None:
        """Who holds the lease now; None where nobody does.

        Raises:
            StoreError: The database failed.
        """
        with self._database.read() as connection:
            row = connection.execute(select(leases).where(_ROW)).one()
            if row.expires_at is None or row.expires_at <= self._database.now(connection):
                return None
        return LeaseHolder(
            holder=row.holder,
            token=row.token,
            acquired_at=row.acquired_at,
            renewed_at=row.renewed_at,
            expires_at=row.expires_at,
        )

    @property
    def ttl_seconds(self) -> float:
        """How long it lasts without being renewed."""
        return self._ttl.total_seconds()

    @property
    def _answer_seconds(self) -> float:
        return self.ttl_seconds / _ANSWERS

    def _claimed(self, connection: Connection) -> tuple[int | None, Mark]:
        row = connection.execute(select(leases).where(_ROW).with_for_update()).one()
        identity = self._database.identity
        mark = identity.require(connection, row.token)
        now = self._database.now(connection)
        is_held = row.expires_at is not None and row.expires_at > now and self._is_alive(row)
        values: dict[str, Any] = {"renewed_at": now, "expires_at": now + self._ttl}
        if is_held and row.token != self._token:
            return None, mark
        token: int = row.token
        if not is_held:
            token += 1
            values |= {"token": token, "holder": self._holder, "acquired_at": now}
        connection.execute(update(leases).where(_ROW).values(**values))
        return token, identity.count(connection, mark, token)

    def _is_alive(self, row: Row[Any]) -> bool:
        """Whether the lease was renewed within its time, by a clock that nobody sets.

        A clock that was set back would make the lease of a dead leader last for hours.
        """
        seen = (row.token, row.renewed_at)
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock.monotonic()
        time_given: timedelta = row.expires_at - row.renewed_at
        return self._clock.monotonic() - self._seen_at <= time_given.total_seconds()


def require_lease(database: Database, connection: Connection, token: int) -> None:
    """Hold the lease still until this transaction ends.

    Raises:
        LeaseLost: It has another token, has lapsed or was given up.
        JournalLost: It is the lease of another journal, or of an older copy.
    """
    row = connection.execute(select(leases).where(_ROW).with_for_update(read=True)).one()
    database.identity.require(connection, row.token)
    if row.token != token:
        raise LeaseLost(f"the lease with token {token} is lost: the last one given out is {row.token}")
    if row.expires_at is None:
        raise LeaseLost(f"the lease with token {token} was given up")
    if row.expires_at <= database.now(connection):
        raise LeaseLost(f"the lease with token {token} lapsed at {row.expires_at:%Y-%m-%dT%H:%M:%SZ}")
