"""The clock on the wall, which is set ahead and back: from its times to moments and back again.

Its times have no zone; moments are in UTC. A clock that is set back shows an hour twice. Here it never goes
back: a time counts from the moment on at which the clock first shows it, or for the first time a later one.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)


def first_moment(time: datetime, zone: ZoneInfo) -> datetime:
    """When the clock first shows this time, or, where it is set ahead over it, the moment of that."""
    early, late = (time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    # The two readings of a time that is shown once are equal, of one shown twice the first is the earlier.
    return early if early <= late else _change(late, early, zone)


def furthest_time(now: datetime, zone: ZoneInfo) -> datetime:
    """The latest time that the clock has shown up to now."""
    shown = now.astimezone(zone)
    time = shown.replace(tzinfo=None, fold=0)
    if not shown.fold:
        return time
    set_back = _change(first_moment(time, zone), now.astimezone(UTC), zone)
    return (set_back - _SECOND).astimezone(zone).replace(tzinfo=None, fold=0)


def day_of(time: datetime, further: int = 0) -> datetime:
    """Midnight of the time's day, or of one so many days further."""
    return time.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=further)


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The second at which the zone's offset changes between two moments."""
    old = before.astimezone(zone).utcoffset()
    first, last = 0, -((before - after) // _SECOND)
    while last - first > 1:
        middle = (first + last) // 2
        if (before + middle * _SECOND).astimezone(zone).utcoffset() == old:
            first = middle
        else:
            last = middle
    # Offsets change at whole seconds, whatever the fraction of the moments.
    return (before + last * _SECOND).replace(microsecond=0)
