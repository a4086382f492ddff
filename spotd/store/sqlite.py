"""How connections to SQLite are made ready, and how their transactions begin."""

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection

BUSY_SECONDS = 5
"""How long a write waits for another process's write before it fails; a write itself takes milliseconds."""


def prepare(connection: Any, _record: object) -> None:
    """A new connection: each commit is on the disk, written ahead."""
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


def begin(connection: Connection) -> None:
    """A transaction begins, as its execution options say."""
    # A write takes its lock at once: a read that turns into a write could only fail.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
