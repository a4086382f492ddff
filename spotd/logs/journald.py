"""Speaks journald's native protocol: entries as fields, each in one datagram.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ and systemd.exec(5) for `$JOURNAL_STREAM`.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from spotd.logs.entries import priority_of

SOCKET = Path("/run/systemd/journal/socket")
SEND_SECONDS = 1
"""Longest wait for a journald that does not read: a log must not stop the daemon."""

_TOO_LARGE = (errno.EMSGSIZE, errno.ENOBUFS)
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def is_journald_stream(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to the stream goes to journald.

    The variable alone says little: whatever a service starts inherits it, a desktop's terminal for one.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # a stream without a file, or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def priority_prefix(level: str, stream: TextIO) -> str:
    """What tells journald how bad a line is; nothing where others read the stream. Source: sd-daemon(3)."""
    return f"<{priority_of(level)}>" if is_journald_stream(stream) else ""


def serialized(fields: Iterable[tuple[str, str]]) -> bytes:
    """The fields as one entry; a value that is more than one printable line goes with its length."""
    parts = []
    for name, value in fields:
        data = value.encode(errors="backslashreplace")  # half a surrogate pair is no UTF-8
        if value.isprintable():
            parts.append(b"%s=%s\n" % (name.encode(), data))
        else:
            parts.append(b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data))
    return b"".join(parts)


def send(entry: bytes, path: Path = SOCKET) -> None:
    """Hand an entry over to journald, as a sealed file where it is too large for a datagram.

    Raises:
        OSError: journald is not there, or does not read.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as unix:
        unix.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_SECONDS, 0))
        unix.connect(str(path))
        try:
            unix.send(entry)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            _send_as_file(unix, entry)


def _send_as_file(unix: socket.socket, entry: bytes) -> None:
    descriptor = os.memfd_create("spotd-log-entry", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(entry)
        file.flush()
        # journald reads from strangers only what cannot change while it reads.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(unix, [b""], [descriptor])
