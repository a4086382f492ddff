"""What single values of a rules file must be, each as a sentence that completes "KEY: VALUE …"."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

DURATION_HELP = "must be a whole number with s, m, h or d, such as 90s, 10m, 2h or 3d"
LONGEST_DURATION = timedelta(days=366)
LONGEST_NAME = 63
LONGEST_CRON = 200
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def _duration(value: Any) -> timedelta:
    match = re.fullmatch(r"(\d{1,9})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"is not a duration: {DURATION_HELP}")
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if length > LONGEST_DURATION:
        raise ValueError("is longer than a year")
    return length


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("is not a date: must be YEAR-MONTH-DAY, such as 2026-12-24") from None


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError("is not a time zone: must be a name such as UTC or Europe/Berlin") from None
    return name


def _cron(text: str) -> str:
    if len(text) > LONGEST_CRON:
        raise ValueError(f"is not a cron expression: longer than {LONGEST_CRON} characters")
    try:
        CronSim(text, _SOME_DAY)
    except CronSimError as error:
        raise ValueError(f"is not a cron expression: {str(error).lower()}") from None
    return text


def _name(text: str) -> str:
    if len(text) > LONGEST_NAME or not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", text):
        raise ValueError("is not a name: must be up to 63 lower-case letters, digits and dashes")
    return text


def _count(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, int) and value < 1):
        raise ValueError("is not a count: must be a whole number of at least 1, or an expression in quotes")
    return value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ValueError(f"holds {str(value)!r} twice")
    return values


def in_words(length: timedelta) -> str:
    """A duration as it is written in a rules file."""
    seconds = round(length.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


_DURATION_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,9}[smhd]$", "examples": ["90s", "10m", "2h", "3d"]}
Duration = Annotated[timedelta, BeforeValidator(_duration), WithJsonSchema(_DURATION_SCHEMA)]
Date = Annotated[date, BeforeValidator(_date)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
RuleName = Annotated[str, AfterValidator(_name)]
CountOrExpression = Annotated[int | str, BeforeValidator(_count)]
DISTINCT = AfterValidator(_distinct)
