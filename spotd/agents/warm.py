"""The file that makes a restart warm: the last readings, written whole or not at all."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from spotd.fleet.snapshot import Readings

FILE_NAME = "readings.json"
HEADER = b"spotd-readings-1"
"""First word of the file; a release with another layout writes another and ignores this one."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmState:
    """What a restart goes on from."""

    cloud: str
    """Names the cloud; readings of another are ignored."""
    saved_at: datetime
    readings: Readings
    servers_position: datetime | None
    """How far the server list was followed, by Nova's clock."""


_ADAPTER: TypeAdapter[WarmState] = TypeAdapter(WarmState)


def save(directory: Path, state: WarmState) -> None:
    """Writes the file atomically: a crash leaves the old one or the new one.

    Raises:
        OSError: The directory cannot be written.
    """
    body = _ADAPTER.dump_json(state)
    digest = hashlib.sha256(body).hexdigest().encode()
    descriptor, name = tempfile.mkstemp(dir=directory, prefix=f".{FILE_NAME}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b" ".join((HEADER, digest)) + b"\n" + body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(directory / FILE_NAME)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def load(directory: Path, cloud: str) -> WarmState | None:
    """The stored state; None, with one line in the log, where there is none of use."""
    path = directory / FILE_NAME
    try:
        header, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("stored readings ignored, starting cold", file=str(path), reason=error.strerror)
        return None
    if header != b" ".join((HEADER, hashlib.sha256(body).hexdigest().encode())):
        log.warning(
            "stored readings ignored, starting cold", file=str(path), reason="damaged or of another release"
        )
        return None
    try:
        state = _ADAPTER.validate_json(body)
    except ValidationError:
        log.warning("stored readings ignored, starting cold", file=str(path), reason="of another shape")
        return None
    if state.cloud != cloud:
        log.warning("stored readings ignored, starting cold", file=str(path), reason="of another cloud")
        return None
    return state
