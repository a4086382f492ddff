"""Which times of a stored reading can be: clocks jump, and files are put there by others."""

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""Nothing was stored before there was anything to store it; a clock that never was set says 1970."""
AHEAD = timedelta(minutes=1)
"""How far clocks of two machines, or one before and after a restart, may differ.

A reading from the future would be taken for new until its time has come.
"""


def is_credible(moment: datetime, now: datetime) -> bool:
    """Whether something can have been read then."""
    return moment.tzinfo is not None and EARLIEST <= moment <= now + AHEAD
