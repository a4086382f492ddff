"""Settings of the journal: where it is, how long it remembers, and how fast another daemon takes over."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from spotd.settings import checks, urls
from spotd.settings.group import Group

FILE_NAME = "journal.sqlite"
JournalUrl = Annotated[SecretStr, AfterValidator(urls.is_journal_url)]
Days = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=3650)]
LeaseSeconds = Annotated[float, checks.NOT_A_BOOLEAN, Field(ge=1, le=300, allow_inf_nan=False)]


class JournalSettings(Group):
    """What survives a restart: moves, decisions, freezes, and who may act."""

    url: JournalUrl | None = None
    """sqlite:////PATH or postgresql://USER@HOST/NAME; default: journal.sqlite in the state directory."""
    retention_days: Days = 90
    """How long ended moves, decisions and audit are kept: a quarter's bill can still be explained."""
    lease_seconds: LeaseSeconds = 10.0
    """How long a leader that fell silent stays leader: over three renewals, and takeover within 15 s."""


def journal_url(journal: JournalSettings, directory: Path | None) -> str | None:
    """Where the journal is: as set, else a file in the state directory, else nowhere."""
    if journal.url is not None:
        return journal.url.get_secret_value()
    return urls.sqlite_url(directory.absolute() / FILE_NAME) if directory is not None else None
