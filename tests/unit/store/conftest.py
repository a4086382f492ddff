"""A store of each kind: SQLite in memory, SQLite in a file, and PostgreSQL where one can be started."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from orders import TTL
from postgresql import PostgreSql, started
from standing import Clock

from spotd.store import Lease, Store, open_store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    with started() as server:
        yield server


@pytest.fixture(params=["sqlite-file", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several connections and processes can share."""
    if request.param == "sqlite-file":
        return f"sqlite:///{tmp_path}/journal.sqlite"
    return request.getfixturevalue("postgresql").create_database(uuid4().hex)


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite-memory":
        return "sqlite://"
    if request.param == "sqlite-file":
        return f"sqlite:///{tmp_path}/journal.sqlite"
    return request.getfixturevalue("postgresql").create_database(uuid4().hex)


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    with open_store(url, clock=clock) as opened:
        yield opened


@pytest.fixture
def lapse(request: pytest.FixtureRequest, clock: Clock) -> Callable[[str], None]:
    """Let the lease's time pass: on SQLite by the clock, on PostgreSQL, whose time is its own, in its row."""

    def pass_time(url: str) -> None:
        clock.move(TTL.total_seconds())
        if url.startswith("postgresql"):
            name = url.rpartition("/")[2]
            server: PostgreSql = request.getfixturevalue("postgresql")
            server.sql("UPDATE leases SET expires_at = clock_timestamp() WHERE expires_at IS NOT NULL", name)

    return pass_time


@pytest.fixture
def token(store: Store) -> int:
    return acquired(store.lease("the leader", TTL))


def acquired(lease: Lease) -> int:
    token = lease.try_acquire()
    assert token is not None
    return token
