"""The way in: one database, opened and checked."""

from datetime import timedelta
from types import TracebackType
from typing import Self

from spotd.clock import Clock, SystemClock
from spotd.store.database import Database
from spotd.store.journal import Journal
from spotd.store.lease import Lease
from spotd.store.schema import prepare


class Store:
    """An open database with its journal and its lease; close it, or use it as a context."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Use `open_store`."""
        self._database = database
        self._clock = clock
        self.journal = Journal(database)
        self.file = database.file
        """Where it is kept on SQLite; None for a server, and in memory."""
        self.where = database.where
        """Names the file or the server, without credentials."""

    def lease(self, holder: str, ttl: timedelta) -> Lease:
        """A claim to be the one that acts; `holder` is for people to read and need not be unique."""
        return Lease(self._database, holder, ttl, self._clock)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_store(url: str, *, clock: Clock | None = None, create: bool = True) -> Store:
    """The store at a database URL of SQLite or PostgreSQL; its tables are made where there are none.

    Args:
        url: Such as sqlite:////var/lib/spotd/journal.sqlite or postgresql://spotd@db.example.com/spotd.
        clock: Decides on SQLite when the lease lapses; by default the machine's.
        create: False refuses a database that is not a journal yet.

    Raises:
        StoreError: It cannot be opened, is damaged, or was written by a newer spotd.
    """
    clock = clock or SystemClock()
    database = Database(url, clock)
    try:
        prepare(database, create=create)
    except BaseException:
        database.close()
        raise
    return Store(database, clock)
