"""The SQLite file that this process has open, held against what its path leads to.

SQLite goes on writing into a file that was removed, and opens whatever lies at the path for the next
connection: so one process can write into two journals, and two daemons can each have one of their own.
"""

import os
import sqlite3
import time
from itertools import starmap
from pathlib import Path

BESIDE = ("", "-wal", "-shm")
"""The file, and what SQLite keeps beside it: who has others shares neither writes nor locks."""
EXAMINE_SECONDS = 1.0
"""A look at the whole file is given up after so long: the lease has to be renewed meanwhile."""
_EXAMINE_STEPS = 10_000


class HeldFile:
    """Which files were opened, and whether they are still those at the path; safe for several threads."""

    def __init__(self, path: Path) -> None:
        """Nothing is held yet; a relative path is taken from the working directory of now."""
        self.path = path.absolute()
        self._known: dict[Path, tuple[int, int]] = {}
        self._stamp: tuple[int, int] | None = None
        self._numbers: dict[str, int] = {}
        self._damage: str | None = None

    def hold(self) -> None:
        """Remember the files as they are; some connection must stay open, so that their numbers stay theirs.

        Raises:
            OSError: One of them is not there.
        """
        # The path is followed anew each time: a symbolic link may be turned. SQLite put the others beside
        # the file that the link led to.
        beside = os.path.realpath(self.path)
        files = {self.path if end == "" else Path(f"{beside}{end}") for end in BESIDE}
        self._known = {file: _number_of(file.stat()) for file in files}

    def loss(self) -> str | None:
        """Why what is open is not what lies at the path any more; None while it is. Asks no database."""
        if self._damage is not None:
            return self._damage
        why = next(filter(None, starmap(self._loss_of, self._known.items())), None)
        if why is None and self._known and not os.access(self.path, os.W_OK):
            why = f"{self.path} may not be written any more"
        return why

    def _loss_of(self, file: Path, number: tuple[int, int]) -> str | None:
        try:
            found = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"{file} was removed or renamed while spotd had it open"
        except OSError as error:
            return f"{file} cannot be looked at any more: {error.strerror}"
        if _number_of(found) != number:
            return f"another file was put in the place of {file} while spotd had it open"
        if found.st_size == 0 and file == self.path:
            # A new connection would take it for a new journal, and delete the log beside it.
            return f"{file} was emptied while spotd had it open"
        return None

    def examine(self) -> None:
        """Where the file was written since the last time, look whether it is whole and no older.

        SQLite itself writes it every thousand pages or so. Its connections read what they keep in memory or
        in the log, and would not notice for long that the file was cut off or written over in place.
        """
        stamp = _stamp_of(self.path.stat())
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            numbers = _numbers_in(self.path)
        except _Damaged as error:
            self._damage = f"was cut off, written over or damaged while spotd had it open ({error})"
            return
        if numbers is None:
            return
        if any(numbers.get(table, 0) < number for table, number in self._numbers.items()):
            self._damage = f"an older copy was written over {self.path} while spotd had it open"
        self._numbers.update(numbers)


class _Damaged(Exception):  # noqa: N818 - the file is, and that is what is told
    """What is wrong with the file."""


def _number_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _stamp_of(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _numbers_in(path: Path) -> dict[str, int] | None:
    """The last number that each table gave out, as a new connection sees it; None where it has to wait.

    They only grow, whatever is deleted: in an older copy they are lower.

    Raises:
        _Damaged: The file is no whole database.
    """
    give_up_at = time.monotonic() + EXAMINE_SECONDS
    # Never by a file descriptor of our own: closing it would drop the locks that SQLite holds on the file.
    connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=EXAMINE_SECONDS)
    numbers = None
    try:
        numbers = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
        connection.set_progress_handler(lambda: time.monotonic() > give_up_at, _EXAMINE_STEPS)
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY):
            return numbers
        raise _Damaged(str(error)) from None
    finally:
        connection.close()
    if found != "ok":
        raise _Damaged(" ".join(str(found).split()))
    return numbers
