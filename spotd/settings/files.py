"""Reading what a configuration or a state directory names: only files, and only so much of them.

A FIFO would be waited for, a device read until memory ends or set off by being opened.
"""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


class FileTooLarge(Exception):  # noqa: N818 - the system's own errors have no suffix either
    """The file holds more than whoever reads it takes."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, and its mode."""

    content: bytes
    mode: int

    @property
    def is_world_readable(self) -> bool:
        """Whether everyone on the machine may read the file."""
        return bool(self.mode & stat.S_IROTH)


def open_regular(path: Path) -> BinaryIO:
    """The file, opened for reading without ever waiting for it; symbolic links are followed.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    refuse_irregular(path.stat().st_mode)  # before: opening a device may set it off
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        refuse_irregular(os.fstat(descriptor).st_mode)  # after: it may have been swapped
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, *, most_bytes: int) -> Content:
    """The whole file.

    Raises:
        OSError: It cannot be read, or is no regular file.
        FileTooLarge: It is longer than that; no more than that was read.
    """
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        content = b"" if found.st_size > most_bytes else file.read(found.st_size + 1)
        if len(content) > found.st_size:  # it grows, or does not tell its length, as those of /proc
            content += file.read(most_bytes + 1 - len(content))
    if max(found.st_size, len(content)) > most_bytes:
        raise FileTooLarge(str(path))
    return Content(content, found.st_mode)


def refuse_unreadable(path: Path, *, most_bytes: int) -> None:
    """Accept what somebody else may read whole: nothing, or a file of no more than that.

    Raises:
        OSError: It is there and no regular file.
        FileTooLarge: It is longer.
    """
    try:
        found = path.stat()
    except OSError:
        return  # whoever reads it says what is wrong
    refuse_irregular(found.st_mode)
    if found.st_size > most_bytes:
        raise FileTooLarge(str(path))


def refuse_irregular(mode: int) -> None:
    """Accept the mode of a file only.

    Raises:
        OSError: It is a directory's, a FIFO's, a socket's or a device's.
    """
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file")
