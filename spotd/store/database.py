"""The database behind the store: how it is opened, how transactions begin, what its failures are called."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from spotd.clock import Clock
from spotd.logs import register_secret
from spotd.logs.masking import looks_secret
from spotd.settings.urls import sqlite_path
from spotd.store.errors import StoreError, StoreUnusable

BUSY_SECONDS = 5
"""How long a write waits for another process's write before it fails; a write itself takes milliseconds."""
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
EXAMPLES = "such as sqlite:////var/lib/spotd/journal.sqlite or postgresql://spotd@db.example.com/spotd"
_HIDDEN = "***"
_FILE_MODE = 0o600


class Database:
    """One journal's database; safe for several threads."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Nothing is connected yet.

        Raises:
            StoreError: The URL is not one of a database that can be a journal.
        """
        parsed = _parsed(url)
        self._secrets = _secrets(parsed)
        for secret in self._secrets:
            register_secret(secret)
        self._clock = clock
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file = _file(parsed) if self.is_sqlite else None
        self.where = _where(parsed)
        """Names the file or the server, without credentials."""
        in_memory = self.is_sqlite and self.file is None
        # A database in memory is one connection, so its users take turns.
        self._turn = threading.Lock() if in_memory else nullcontext()
        self._engine = self._made(parsed, in_memory=in_memory)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "connect", _prepare_postgresql)
        self._reading = self._engine.execution_options(
            # Several statements of one answer see the same state.
            **({} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        )
        self._writing = self._engine.execution_options(
            **({"writes": True} if self.is_sqlite else {"isolation_level": "READ COMMITTED"})
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads.

        Raises:
            StoreError: The database failed.
        """
        with self._transaction(self._reading) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is on the disk when this ends, or not there at all.

        Raises:
            StoreError: The database failed. At the commit itself it may be there all the same.
        """
        with self._transaction(self._writing) as connection:
            yield connection

    def now(self, connection: Connection) -> datetime:
        """The time by which leases lapse: the server's where daemons on several machines share it."""
        if self.is_sqlite:
            return self._clock.now()
        # Not the transaction's time: it may have waited for a lock since.
        time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return time

    def make_file(self) -> None:
        """Makes the file where there is none; one that root makes belongs to whom its directory belongs to.

        Else a command of root's would lock out a daemon that runs as another user. The files that SQLite puts
        beside it follow its owner by themselves.
        """
        if self.file is None or os.geteuid() != 0:
            return
        try:
            owner = self.file.parent.stat()
            descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        except OSError:
            return  # it is there already, or SQLite will say what is wrong
        try:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise self.failure(f"cannot be given to its directory's owner: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def failure(self, why: str) -> StoreError:
        """An error that names this database."""
        return StoreError(f"{self.where}: {why}")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with self._turn, engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self.failure(self._why(error)) from error
        except UnicodeError:
            # Neither SQLAlchemy nor the drivers translate it; it quotes the text.
            raise self.failure("a text holds what is no character") from None

    def _why(self, error: SQLAlchemyError) -> str:
        orig = error.orig if isinstance(error, DBAPIError) else None
        why = " ".join(str(orig if orig is not None else error).split())
        if self.file is not None and "unable to open database file" in why:
            why = _cannot_open(self.file)
        for secret in self._secrets:
            why = why.replace(secret, _HIDDEN)
        return why or type(error).__name__

    def _made(self, url: URL, *, in_memory: bool) -> Engine:
        if in_memory:
            return create_engine(
                url,
                poolclass=StaticPool,
                connect_args={"check_same_thread": False},
                hide_parameters=True,
            )
        if self.is_sqlite:
            return create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)
        try:
            engine = create_engine(
                url,
                connect_args={key: value for key, value in _LIBPQ.items() if key not in url.query},
                hide_parameters=True,
                pool_pre_ping=True,
                pool_timeout=STATEMENT_SECONDS,
            )
        except ModuleNotFoundError:
            raise self._unusable("needs psycopg: install spotd with its extra `postgres`") from None
        except Exception as error:  # noqa: BLE001 - of a query that it does not know; it may quote a password
            raise self._unusable(f"its URL cannot be used ({type(error).__name__})") from None
        if not _are_libpq_options(engine, url):
            raise self._unusable("its URL has an option behind the ? that libpq does not know")
        event.listen(engine, "do_connect", self._connect_to_utf8)
        return engine

    def _connect_to_utf8(self, dialect: Any, _record: object, arguments: Any, keywords: Any) -> Any:
        """A connection to a database that can hold every character; from another some texts come as bytes."""
        connection = dialect.connect(*arguments, **keywords)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            connection.close()
            raise self._unusable(
                f"keeps texts in {encoding}, which cannot hold every character: give spotd a database "
                "that is made with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )
        return connection

    def _unusable(self, why: str) -> StoreUnusable:
        return StoreUnusable(f"{self.where}: {why}")


# A server that died without a word must not hold a leader for the kernel's two hours.
_LIBPQ: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": STATEMENT_SECONDS * 1000,
    "application_name": "spotd",
    # Whatever PGCLIENTENCODING says: the server translates.
    "client_encoding": "utf8",
}


def _are_libpq_options(engine: Engine, url: URL) -> bool:
    from psycopg import ProgrammingError  # noqa: PLC0415 - only where a URL is PostgreSQL's
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - likewise

    options = {
        key: value for key, value in engine.dialect.create_connect_args(url)[1].items() if key != "context"
    }
    try:
        make_conninfo("", **options)
    except ProgrammingError:
        return False
    return True


def _parsed(url: str) -> URL:
    if url.startswith("sqlite:"):
        # Not as SQLAlchemy reads it, for which a ? ends the path and, by release, an escape is none.
        path = sqlite_path(url)
        return URL.create("sqlite", database=None if path is None else str(path))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The cause would quote the URL, and with it a password.
        raise StoreUnusable(f"the journal's URL is not a database URL, {EXAMPLES}") from None
    backend = parsed.get_backend_name()
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    raise StoreUnusable(f"a journal cannot be kept in {backend!r}: use SQLite or PostgreSQL, {EXAMPLES}")


def _file(url: URL) -> Path | None:
    return Path(url.database) if url.database and url.database != ":memory:" else None


def _where(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        file = _file(url)
        return f"journal {on_one_line(file)}" if file is not None else "journal in memory"
    port = f":{url.port}" if url.port else ""
    return f"journal postgresql://{url.host or url.query.get('host', '')}{port}/{url.database or ''}"


def on_one_line(path: Path) -> str:
    """The path with what is no character, or would begin a line, as an escape."""
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _secrets(url: URL) -> tuple[str, ...]:
    """What of the URL is never shown."""
    found = [str(url.password)] if url.password else []
    for key, value in url.query.items():
        if looks_secret(key):
            found += [value] if isinstance(value, str) else list(value)
    return tuple(secret for secret in found if secret)


def _cannot_open(file: Path) -> str:
    if not file.parent.is_dir():
        return f"there is no directory {on_one_line(file.parent)}"
    if file.is_dir():
        return "is a directory"
    return "cannot be opened: the file and its directory must be writable"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin as `_begin_sqlite` says
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA foreign_keys=ON")
        _use_wal(cursor)
        # Beyond the default of WAL: what was answered as written survives the loss of power.
        cursor.execute("PRAGMA synchronous=FULL")
    finally:
        cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    # Two that open a new file at once: here SQLite does not wait by itself.
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
    if mode not in ("wal", "memory"):
        raise sqlite3.OperationalError("its file system cannot share memory: keep it on a local disk")


def _begin_sqlite(connection: Connection) -> None:
    # A write takes its lock at once: a read that turns into a write could only fail.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("SET TIME ZONE 'UTC'")
        # Stronger settings of the server stay.
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        cursor.execute(f"SET statement_timeout TO '{STATEMENT_SECONDS}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout TO '{STATEMENT_SECONDS}s'")
    finally:
        cursor.close()
    connection.commit()
