"""How far a list was followed, by the clock of whoever answers: a time that is held against our own."""

from datetime import datetime, timedelta

from spotd.clouds.errors import malformed

BEHIND, AHEAD = timedelta(days=1), timedelta(hours=1)
"""How far another's clock may be behind or ahead of ours to be believed: by more, one of the two is wrong."""


def position_at(told: datetime, now: datetime, overlap: timedelta, who: str) -> datetime:
    """A time that the other's clock has surely reached.

    Never past our own clock and the skew allowed, which is half of what a question for changes reaches back:
    a position in the future would make every later list of changes empty.

    Raises:
        CloudError: `MALFORMED` where the two clocks are too far apart to be believed.
    """
    if not -BEHIND <= told - now <= AHEAD:
        raise malformed(
            f"{who} it is {told:%Y-%m-%dT%H:%M:%SZ}, this machine {now:%Y-%m-%dT%H:%M:%SZ}:"
            " set the clock that is wrong"
        )
    return min(told, now + overlap / 2)
