"""A journal that was taken away, or another in its place: whoever led stops, and writes into neither."""

import os
import resource
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from odd_files import ODD
from orders import NOW, order
from postgresql import PostgreSql

from spotd.store import JournalLost, Lease, LeaseLost, Store, StoreError, held_file, open_store

LONG = timedelta(minutes=5)
Harm = Callable[[Path], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Under a link to a directory, so that both can be turned."""
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "journal.file").touch(mode=0o600)
    (tmp_path / "real" / "journal.sqlite").symlink_to("journal.file")
    return tmp_path / "state" / "journal.sqlite"


@pytest.fixture
def held(path: Path) -> Iterator[Store]:
    with open_store(f"sqlite:///{path}") as opened:
        for number in range(40):
            opened.journal.ask(order(f"gpu-{number}", reason="a long reason " * 200), now=NOW)
        yield opened


def led(store: Store) -> tuple[Lease, int]:
    lease = store.lease("the leader", LONG)
    token = lease.try_acquire()
    assert token is not None
    return lease, token


def real(path: Path) -> Path:
    return path.resolve()


def turn(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


def copied(path: Path) -> Path:
    """An older copy, as a backup makes it."""
    other = path.parent.parent / "copy.sqlite"
    source, target = sqlite3.connect(path), sqlite3.connect(other)
    source.backup(target)
    source.close()
    target.close()
    return other


def swap_directory(path: Path) -> None:
    other = path.parent.parent / "other"
    other.mkdir()
    shutil.copy(copied(path), other / path.name)
    turn(path.parent, other)


def removed_beside(ending: str) -> Harm:
    return lambda path: Path(f"{real(path)}{ending}").unlink()


HARMS: dict[str, Harm] = {
    "removed": lambda path: real(path).unlink(),
    "renamed": lambda path: real(path).rename(path.parent / "elsewhere"),
    "replaced by a copy": lambda path: copied(path).replace(real(path)),
    "the link turned": lambda path: turn(path, copied(path)),
    "the link removed": lambda path: path.unlink(),
    "the directory swapped": swap_directory,
    "the directory renamed": lambda path: path.parent.resolve().rename(path.parent.parent / "gone"),
    "a directory in its place": lambda path: (real(path).unlink(), real(path).mkdir()),
    "emptied": lambda path: os.truncate(path, 0),
    "the write-ahead log removed": removed_beside("-wal"),
    "the shared memory removed": removed_beside("-shm"),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_whoever_led_stops_at_once_and_says_why(harm: Harm, path: Path, held: Store) -> None:
    """Before the next write to a cloud, which asks the lease's token, and at every use of the journal."""
    lease, token = led(held)
    move = held.journal.begin(order("another"), token=token, now=NOW)
    assert lease.token == token
    harm(path)

    assert lease.token is None
    for use in (
        lease.try_acquire,
        held.journal.moves,
        lambda: held.journal.step_began(move.id, "join", "do", token=token, now=NOW),
    ):
        with pytest.raises(JournalLost, match=r"^journal /\S+: .*moves nothing until") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_no_file_is_made_in_the_place_of_one_that_went(path: Path, held: Store) -> None:
    """Not even by the connections that many threads need at once."""
    real(path).unlink()

    def use(_: int) -> None:
        with pytest.raises(StoreError):
            held.journal.moves()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(use, range(48)))

    assert not path.exists()


def test_nothing_of_one_process_reaches_the_new_journal_of_another(path: Path, held: Store) -> None:
    lease, token = led(held)
    real(path).unlink()

    with open_store(f"sqlite:///{path}") as other:
        its_lease, its_token = led(other)

        def use(_: int) -> None:
            with pytest.raises(JournalLost):
                held.journal.begin(order("mine"), token=token, now=NOW)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(use, range(48)))
        with pytest.raises(JournalLost):
            lease.release()

        assert (its_token, None) == (its_lease.token, lease.token)
        assert other.journal.moves() == ()
        held.close()
        with open_store(f"sqlite:///{path}") as third:  # the first's end took nothing of it away
            assert third.lease("third", LONG).try_acquire() is None


def test_what_is_written_while_the_file_goes_is_not_believed(path: Path, held: Store) -> None:
    with pytest.raises(JournalLost), held._database.write():
        real(path).unlink()


def test_a_file_that_is_put_back_is_the_journal_again_under_a_new_term(path: Path, held: Store) -> None:
    """The threads of the old term are over: another may have acted meanwhile."""
    lease, token = led(held)
    place, away = real(path), path.parent / "elsewhere"
    place.rename(away)
    assert lease.token is None
    away.rename(place)

    assert lease.try_acquire() is None  # that of the old term has to lapse
    with held._database.write() as connection:
        connection.exec_driver_sql("UPDATE leases SET expires_at = renewed_at")
    assert token + 1 == lease.try_acquire()
    with pytest.raises(LeaseLost):
        held.journal.begin(order("another"), token=token, now=NOW)


@pytest.mark.parametrize("size", [100, 4096, 20_000])
def test_a_file_that_was_cut_off_is_noticed_by_the_next_renewal(size: int, path: Path, held: Store) -> None:
    """Connections that have it in memory would go on for long."""
    lease, _ = led(held)
    checkpoint(path)
    lease.try_acquire()
    os.truncate(path, size)

    with pytest.raises(JournalLost, match="cut off, written over or damaged"):
        lease.try_acquire()
    assert lease.token is None
    with pytest.raises(JournalLost):
        held.journal.moves()


def test_a_file_that_was_written_over_is_noticed_by_the_next_renewal(path: Path, held: Store) -> None:
    lease, _ = led(held)
    checkpoint(path)
    lease.try_acquire()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))

    with pytest.raises(JournalLost, match="cut off, written over or damaged"):
        lease.try_acquire()


def test_an_older_copy_that_is_written_over_the_file_is_noticed_by_the_next_renewal(
    path: Path, held: Store
) -> None:
    """As `cp` does, which keeps the file's number; the lease is in the log beside it, and looks right."""
    lease, token = led(held)
    backup = copied(path)
    held.journal.begin(order("since"), token=token, now=NOW)
    checkpoint(path)
    assert token == lease.try_acquire()
    shutil.copyfile(backup, path)

    with pytest.raises(JournalLost, match="an older copy was written over"):
        lease.try_acquire()
    assert lease.token is None


def test_a_look_at_the_file_that_takes_too_long_is_no_loss(
    path: Path, held: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, token = led(held)
    monkeypatch.setattr(held_file, "EXAMINE_SECONDS", 0.0)
    monkeypatch.setattr(held_file, "_EXAMINE_STEPS", 1)
    for _ in range(3):
        checkpoint(path)
        assert token == lease.try_acquire()


def test_what_sqlite_itself_does_to_the_file_is_no_loss(path: Path, held: Store) -> None:
    """It writes pages back, and a person may have it made smaller."""
    lease, token = led(held)
    checkpoint(path)
    assert token == lease.try_acquire()
    with held._database.write() as connection:
        connection.exec_driver_sql("DELETE FROM moves WHERE number > 3")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("VACUUM")
    other.close()
    checkpoint(path)

    assert token == lease.try_acquire()
    assert 3 == len(held.journal.moves())


def test_a_full_disk_is_a_failure_that_ends(path: Path, held: Store) -> None:
    """Nothing is lost: the lease lapses by itself, and goes on where there is room in time."""
    lease, token = led(held)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = Path(f"{real(path)}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(StoreError) as caught:
            held.journal.ask(order("wide", reason="wide " * 100_000), now=NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert not isinstance(caught.value, JournalLost)
    assert token == lease.token == lease.try_acquire()


@pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD)
def test_a_journal_that_is_no_file_is_not_waited_for(
    make: Callable[[Path], None], why: str, tmp_path: Path
) -> None:
    make(tmp_path / "journal")

    with pytest.raises(StoreError, match=why):
        open_store(f"sqlite:///{tmp_path / 'journal'}")


def checkpoint(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()


def test_an_older_copy_that_is_restored_in_place_is_noticed(path: Path, held: Store) -> None:
    """By SQLite's own means, so that the file stays the same one."""
    lease, token = led(held)
    backup = copied(path)
    lease.try_acquire()
    source, target = sqlite3.connect(backup), sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()

    with pytest.raises(JournalLost, match="an older copy was put in its place"):
        held.journal.begin(order("another"), token=token, now=NOW)
    with pytest.raises(JournalLost, match="an older copy was put in its place"):
        lease.try_acquire()
    assert lease.token is None


ELSEWHERE = {
    "another journal": 'UPDATE memories SET document = \'{"id": "another", "renewals": 99}\' '
    "WHERE name = 'identity'",
    "without identity": "DELETE FROM memories WHERE name = 'identity'",
    "a lower token": "UPDATE leases SET token = token - 1",
}


@pytest.mark.parametrize("statement", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_journal_that_says_it_is_another_is_not_led(statement: str, shared_url: str) -> None:
    """As after a failover to a replica that lacks commits, or a database that was dropped and made anew."""
    with open_store(shared_url) as store, open_store(shared_url) as follower:
        lease, token = led(store)
        waiting = follower.lease("a follower", LONG)
        waiting.try_acquire()
        with store._database.write() as connection:
            connection.exec_driver_sql(statement)

        with pytest.raises(JournalLost):
            store.journal.save_memory("m", {}, token=token)
        for each in (lease, waiting):
            with pytest.raises(JournalLost):
                each.try_acquire()
        assert (None, None) == (lease.token, waiting.token)


def test_the_right_one_that_comes_back_is_led_again(shared_url: str) -> None:
    with open_store(shared_url) as store:
        lease, token = led(store)
        for step in ("token - 1", "token + 1"):
            with store._database.write() as connection:
                connection.exec_driver_sql(f"UPDATE leases SET token = {step}, expires_at = NULL")
            if step == "token - 1":
                with pytest.raises(JournalLost):
                    lease.try_acquire()

        assert token + 1 == lease.try_acquire()


def test_a_journal_of_an_earlier_release_gets_its_identity_at_the_opening(shared_url: str) -> None:
    with open_store(shared_url) as store:
        record = store.journal.ask(order(), now=NOW)
        with store._database.write() as connection:
            connection.exec_driver_sql("DELETE FROM memories")

    ids = []
    for term in (1, 2):
        with open_store(shared_url) as store:
            lease, token = led(store)
            ids.append((store.journal.memory("identity") or {})["id"])
            assert (term, (record,)) == (token, store.journal.moves())
            lease.release()

    assert ids[0] == ids[1]


def test_many_renewals_and_writes_at_once_are_no_loss(shared_url: str) -> None:
    """What one thread has seen is no older copy for another that began before."""
    with open_store(shared_url) as store:
        lease, token = led(store)
        over = threading.Event()

        def renew() -> None:
            while not over.is_set():
                assert token == lease.try_acquire()

        def write(number: int) -> None:
            for _ in range(15):
                store.journal.save_memory(f"m{number}", {}, token=token)

        with ThreadPoolExecutor(6) as pool:
            renewing = pool.submit(renew)
            try:
                list(pool.map(write, range(4)))
            finally:
                over.set()
            renewing.result()


def test_a_server_that_stands_still_is_noticed_within_the_time_of_a_renewal(postgresql: PostgreSql) -> None:
    """Its machine acknowledges what it is sent; no time limit of its own ever ends."""
    with open_store(postgresql.create_database("still")) as store:
        lease = store.lease("the leader", timedelta(seconds=6))
        token = lease.try_acquire()
        with postgresql.standing_still():
            begun = time.monotonic()
            with pytest.raises(StoreError, match=r"^journal postgresql:"):
                lease.try_acquire()
            first = time.monotonic() - begun
            with pytest.raises(StoreError):  # no connection is left, and none is to be had
                lease.try_acquire()
            second = time.monotonic() - begun - first

        assert max(first, second) < 3.5
        assert token == lease.try_acquire()


def test_a_server_that_takes_no_writes_is_a_failure_that_ends(postgresql: PostgreSql) -> None:
    with open_store(postgresql.create_database("readonly")) as store:
        lease, token = led(store)
        postgresql.sql("ALTER DATABASE readonly SET default_transaction_read_only = on")
        postgresql.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'readonly'")
        with pytest.raises(StoreError, match="read-only"):
            lease.try_acquire()

        postgresql.sql("ALTER DATABASE readonly RESET default_transaction_read_only")
        postgresql.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'readonly'")
        assert token == lease.try_acquire()


def test_a_database_that_was_dropped_and_made_anew_is_another_journal(postgresql: PostgreSql) -> None:
    url = postgresql.create_database("dropped")
    with open_store(url) as store:
        lease, _ = led(store)
        postgresql.sql("DROP DATABASE dropped WITH (FORCE)")
        with pytest.raises(StoreError):
            lease.try_acquire()
        postgresql.sql("CREATE DATABASE dropped")
        with pytest.raises(StoreError):
            lease.try_acquire()
        with open_store(url) as other:
            _, its = led(other)
            with pytest.raises(JournalLost, match="another journal was put in its place"):
                lease.try_acquire()

            assert (1, None) == (its, lease.token)
