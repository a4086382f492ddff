"""Things that are no files and stand where one is read: noticed without waiting and without reading on."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

HUGE_BYTES = 1024**3


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    made = socket.socket(socket.AF_UNIX)
    try:  # its whole path may be too long for an address
        made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        made.close()
        os.close(here)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (os.mkfifo, "not a regular file"),
    "a directory": (Path.mkdir, "is a directory"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a socket": (_socket, "not a regular file"),
    "a loop of links": (lambda path: path.symlink_to(path), "too many levels of symbolic links"),
}
"""What makes each, and how it is named."""


def make_huge(path: Path) -> None:
    """A gigabyte of nothing, which takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(HUGE_BYTES)
