"""The database behind the store: how it is opened, how transactions begin, what its failures are called."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from spotd.clock import Clock
from spotd.logs import register_secret
from spotd.settings.files import refuse_irregular
from spotd.store import sqlite, urls
from spotd.store.errors import JournalLost, StoreError, StoreUnusable
from spotd.store.held_file import HeldFile
from spotd.store.identity import Identity

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 10
_HIDDEN = "***"
_FILE_MODE = 0o600


class Database:
    """One journal's database; safe for several threads."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Nothing is connected yet.

        Raises:
            StoreError: The URL is not one of a database that can be a journal.
        """
        parsed = urls.parsed(url)
        self._secrets = urls.secrets_of(parsed)
        for secret in self._secrets:
            register_secret(secret)
        self._clock = clock
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.file = urls.file_of(parsed) if self.is_sqlite else None
        self._held = None if self.file is None else HeldFile(self.file)
        self.identity = Identity(self.lost)
        self.where = urls.where_of(parsed)
        """Names the file or the server, without credentials."""
        in_memory = self.is_sqlite and self.file is None
        # A database in memory is one connection, so its users take turns.
        self._turn = threading.Lock() if in_memory else nullcontext()
        self._engine = self._made(parsed, in_memory=in_memory)
        if self.is_sqlite:
            event.listen(self._engine, "do_connect", self._only_what_is_there)
            event.listen(self._engine, "connect", self._refuse_another)
            event.listen(self._engine, "connect", sqlite.prepare)
            event.listen(self._engine, "begin", sqlite.begin)
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
            JournalLost: Another file is in the place of the one that is open.
        """
        with self._transaction(self._reading) as connection:
            yield connection

    @contextmanager
    def write(self, *, within: float | None = None) -> Iterator[Connection]:
        """A transaction that is on the disk when this ends, or not there at all.

        Args:
            within: Seconds after which a server that has not answered counts as failed; else 12 for each
                statement.

        Raises:
            StoreError: The database failed. At the commit itself it may be there all the same.
            JournalLost: Another file is in the place of the one that is open.
        """
        with self._answering(within), self._transaction(self._writing) as connection:
            yield connection
        # A file that went meanwhile took what was written with it.
        self.refuse_loss()

    def hold(self) -> None:
        """From now on the files at the path must stay those that are open.

        Raises:
            StoreError: One of them is not there.
        """
        if self._held is not None:
            try:
                self._held.hold()
            except OSError as error:
                raise self.failure(f"cannot be looked at: {error.strerror}") from error

    def loss(self) -> str | None:
        """Why what is open is not the journal at the path any more; None while it is. Asks no database."""
        return None if self._held is None else self._held.loss()

    def refuse_loss(self) -> None:
        """Nothing may be done with what is open once it is not the journal any more.

        Raises:
            JournalLost: It is not.
        """
        if (why := self.loss()) is not None:
            raise self.lost(why)

    def examine(self) -> None:
        """Looks whether the file is whole, where it was written since the last look.

        Raises:
            JournalLost: It is not.
        """
        self.refuse_loss()
        if self._held is not None:
            try:
                self._held.examine()
            except OSError as error:
                raise self.failure(f"cannot be looked at: {error.strerror}") from error
            self.refuse_loss()

    def now(self, connection: Connection) -> datetime:
        """The time by which leases lapse: the server's where daemons on several machines share it."""
        if self.is_sqlite:
            return self._clock.now()
        # Not the transaction's time: it may have waited for a lock since.
        time: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return time

    def make_file(self) -> None:
        """Makes the file where there is none, for its owner alone, whatever the umask is.

        One that root makes belongs to whom its directory belongs to: else a command of root's would lock out
        a daemon that runs as another user. The files that SQLite puts beside it follow it by themselves.
        """
        if self.file is None:
            return
        self._refuse_irregular(self.file)
        try:
            file = Path(os.path.realpath(self.file))  # a link may lead to where nothing is yet
            owner = file.parent.stat()
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        except OSError:
            return  # it is there already, or SQLite will say what is wrong
        try:
            os.fchmod(descriptor, _FILE_MODE)
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except OSError as error:
            raise self.failure(f"cannot be given to its directory's owner: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def _refuse_irregular(self, file: Path) -> None:
        try:
            refuse_irregular(file.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return  # which SQLite, or whoever makes the file, says better
        except OSError as error:
            raise self.failure(f"cannot be opened: {(error.strerror or '').lower()}") from error

    def failure(self, why: str) -> StoreError:
        """An error that names this database."""
        return StoreError(f"{self.where}: {why}")

    def lost(self, why: str) -> JournalLost:
        """An error that names this database and says what a person has to do."""
        return JournalLost(
            f"{self.where}: {why}; spotd moves nothing until the one it opened is back, "
            "or a restart takes up what is there then"
        )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _answering(self, seconds: float | None) -> AbstractContextManager[None]:
        if seconds is None or self.is_sqlite:
            return nullcontext()
        from spotd.store.postgresql import answering_within  # noqa: PLC0415 - psycopg is an extra

        return answering_within(seconds)

    def _only_what_is_there(
        self, _dialect: object, _record: object, arguments: list[Any], parameters: dict[str, Any]
    ) -> None:
        """Has SQLite open the file, and never make one: that would be a second journal."""
        if self._held is not None and not parameters.get("uri"):
            arguments[0] = f"{self._held.path.as_uri()}?mode=rw"
            parameters["uri"] = True

    def _refuse_another(self, connection: Any, _record: object) -> None:
        """A file that came to the path meanwhile is not written, not even its header."""
        try:
            self.refuse_loss()
        except JournalLost:
            connection.close()
            raise

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        self.refuse_loss()
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
            return create_engine(url, connect_args={"timeout": sqlite.BUSY_SECONDS}, hide_parameters=True)
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

    def _connect_to_utf8(self, _dialect: Any, _record: object, _: Any, parameters: dict[str, Any]) -> Any:
        """A connection to a database that can hold every character; from another some texts come as bytes."""
        from spotd.store.postgresql import connect  # noqa: PLC0415 - psycopg is an extra

        connection = connect(parameters)
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


def _cannot_open(file: Path) -> str:
    if not file.parent.is_dir():
        return f"there is no directory {urls.on_one_line(file.parent)}"
    if file.is_dir():
        return "is a directory"
    return "cannot be opened: the file and its directory must be writable"


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
