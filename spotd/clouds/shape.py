"""Reading JSON of another program's making: each look names what it expected when it is not there."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from spotd.clouds.errors import malformed

LONGEST_NAME = 4096
"""Characters of a name or an id: many times what OpenStack's databases hold."""
_STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
LARGEST_NUMBER = 2**63 - 1
"""What a column of 64 bits holds: no id, generation or count of the clouds' is larger."""


def rows_of(document: Any, key: str, what: str) -> list[Mapping[str, Any]]:
    """The list of objects under `key`.

    Raises:
        CloudError: The document is no object, lacks the key, or the list holds something else.
    """
    if not isinstance(document, dict) or not isinstance(document.get(key), list):
        raise malformed(f"{what}: the answer has no list {key!r}", document)
    rows: list[Mapping[str, Any]] = document[key]
    if not all(isinstance(row, dict) for row in rows):
        raise malformed(f"{what}: {key!r} holds something that is no object")
    return rows


def once(rows: Iterable[Mapping[str, Any]], key: str, what: str) -> None:
    """Holds that no two rows of one answer are the same thing.

    Raises:
        CloudError: A value of `key` comes a second time, so that one of the two is not true.
    """
    seen: set[Any] = set()
    for row in rows:
        value = row.get(key)
        if not isinstance(value, str | int):
            raise malformed(f"{what}: a row has no {key!r}", value)
        if value in seen:
            raise malformed(f"{what}: {key} {value!r} comes twice in one answer")
        seen.add(value)


def object_of(document: Any, key: str, what: str) -> Mapping[str, Any]:
    """The object under `key`.

    Raises:
        CloudError: The document is no object, or lacks the key.
    """
    if not isinstance(document, dict) or not isinstance(document.get(key), dict):
        raise malformed(f"{what}: the answer has no object {key!r}", document)
    found: Mapping[str, Any] = document[key]
    return found


def text_of(row: Mapping[str, Any], key: str, what: str) -> str:
    """The text under `key`.

    Raises:
        CloudError: It is missing or no text.
    """
    value = row.get(key)
    if not isinstance(value, str):
        raise malformed(f"{what}: {key!r} is no text", value)
    return value


def optional_text(row: Mapping[str, Any], key: str, what: str) -> str | None:
    """The text under `key`, None where it is null or missing.

    Raises:
        CloudError: It is something else.
    """
    return None if row.get(key) is None else text_of(row, key, what)


def name_of(row: Mapping[str, Any], key: str, what: str) -> str:
    """The text under `key`, which something can be known by.

    Raises:
        CloudError: It is missing, no text, or no name.
    """
    value = text_of(row, key, what)
    if not is_name(value):
        raise malformed(
            f"{what}: {key!r} is no name: blank, over {LONGEST_NAME} characters, or with control characters"
        )
    return value


def is_name(value: Any) -> bool:
    """Whether something can be known by it: not blank, not endless, and nothing that steers a terminal."""
    return (
        isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_NAME and _STEERING.search(value) is None
    )


def whole_number(row: Mapping[str, Any], key: str, what: str) -> int:
    """The whole number under `key`, from zero to the largest that a cloud's database can hold.

    Raises:
        CloudError: It is missing, no whole number, negative or absurdly large.
    """
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise malformed(f"{what}: {key!r} is no whole number", value)
    if not 0 <= value <= LARGEST_NUMBER:
        raise malformed(f"{what}: {key!r} is {'negative' if value < 0 else 'absurdly large'}")
    return value


def moment_of(text: Any) -> datetime | None:
    """A time in ISO 8601, which OpenStack means as UTC where it names no zone; None where it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # overflows at the ends of what Python can hold
        return None
