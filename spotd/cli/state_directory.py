"""The directory of the journal and the stored readings: made for its owner alone, whatever the umask is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

from spotd.agents.warm import FILE_NAME as READINGS
from spotd.cli.options import EXIT_USAGE, fail
from spotd.settings.journal import FILE_NAME as JOURNAL

DIRECTORY_MODE = 0o700

log = structlog.get_logger(__name__)


def make_state_directory(directory: Path) -> None:
    """Makes what is missing of it; one that is there keeps its mode, such as one for a group."""
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
            path.chmod(DIRECTORY_MODE)
        directory.mkdir(exist_ok=True)  # says what stands there where it is no directory
    except OSError as error:
        fail(f"collection.state_directory: {directory}: {error.strerror}", EXIT_USAGE)


def warn_of_others(directory: Path | None, journal: Path | None) -> None:
    """One line for each place in which everyone on this machine could change what spotd acts by."""
    for path in dict.fromkeys(_places(directory, journal)):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # whoever opens it says what is wrong
        if mode & stat.S_IWOTH:
            directories, files = "others can write the state directory", "others can write a state file"
            event = directories if stat.S_ISDIR(mode) else files
            log.warning(event, path=str(path), cure=f"chmod o-w {path}")


def _places(directory: Path | None, journal: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        yield directory / READINGS
        yield directory / JOURNAL
    if journal is not None:
        yield Path(os.path.realpath(journal)).parent
        yield journal
