"""The file that makes a restart warm: the last readings, written whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from spotd.agents.stored import is_credible
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import Readings
from spotd.settings.files import FileTooLarge, read_regular

FILE_NAME = "readings.json"
HEADER = b"spotd-readings-1"
"""First word of the file; a release with another layout writes another and ignores this one."""
FILE_MODE = 0o600
LARGEST_BYTES = 64 * 1024**2
"""2,000 hosts with 4,565 servers are stored in 3.0 MB, of which a server takes 430 bytes: 10,000 servers make
5.4 MB. Names as long as the clouds allow make three times of it, and that may double twice.
"""

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
        os.fchmod(descriptor, FILE_MODE)  # whatever the umask took from it
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


def load(directory: Path, cloud: str, *, now: datetime) -> WarmState | None:
    """The stored state; None, with one line in the log, where there is none of use."""
    path = directory / FILE_NAME
    try:
        return _state_in(read_regular(path, most_bytes=LARGEST_BYTES).content, cloud, now)
    except FileNotFoundError:
        return None
    except FileTooLarge:
        reason = f"larger than {LARGEST_BYTES // 1024**2} MiB"
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except _Useless as error:
        reason = str(error)
    log.warning("stored readings ignored, starting cold", file=str(path), reason=reason)
    return None


class _Useless(Exception):  # noqa: N818 - a cold start is no fault
    """Why the stored state is of no use."""


def _state_in(content: bytes, cloud: str, now: datetime) -> WarmState:
    header, _, body = content.partition(b"\n")
    if header != b" ".join((HEADER, hashlib.sha256(body).hexdigest().encode())):
        raise _Useless("damaged or of another release")
    try:
        state = _ADAPTER.validate_json(body)
    except ValidationError:
        raise _Useless("of another shape") from None
    if state.cloud != cloud:
        raise _Useless("of another cloud")
    if not all(is_credible(moment, now) for moment in _times(state)):
        raise _Useless("of a time that cannot be")
    if not _is_possible(state.readings):
        raise _Useless("of counts or names that cannot be")
    return state


def _times(state: WarmState) -> Iterator[datetime]:
    """Every time that something goes by."""
    yield state.saved_at
    if state.servers_position is not None:
        yield state.servers_position
    readings = state.readings
    for source in Source:
        reading = readings.of(source)
        if reading is not None:
            yield reading.read_at
    if readings.gpus is not None:
        yield readings.gpus.value.full_read_at
        yield from (tree.read_at for tree in readings.gpus.value.trees.values())


def _is_possible(readings: Readings) -> bool:
    """Whether counts count something, and each thing stands under its own name."""
    trees = {} if readings.gpus is None else readings.gpus.value.trees
    devices = {} if readings.netbox is None else readings.netbox.value.devices
    servers = {} if readings.servers is None else readings.servers.value.servers
    counts = chain(
        (
            number
            for tree in trees.values()
            for gpu in tree.gpus.values()
            for number in (gpu.capacity, gpu.used)
        ),
        (device.gpu_count for device in devices.values() if device.gpu_count is not None),
        (
            number
            for server in servers.values()
            for _, number in (*server.flavor.resources, *server.flavor.pci_aliases)
        ),
    )
    named = chain(
        (name == tree.name for name, tree in trees.items()),
        (number == device.id for number, device in devices.items()),
        (id_ == server.id for id_, server in servers.items()),
    )
    return all(number >= 0 for number in counts) and all(named)
