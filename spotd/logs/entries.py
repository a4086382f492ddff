"""What journald is told of an event: a text to read, how bad it is, and each fact as a field of its own."""

import json
import re
from collections.abc import Mapping
from logging import LogRecord
from typing import Any

from spotd.logs.visible import visible

IDENTIFIER = "spotd"
PREFIX = "SPOTD_"
"""Before the name of each fact, so that none can be taken for a field of systemd's own."""
LONGEST_NAME = 64
"""journald leaves out a field whose name is longer."""
PRIORITIES: Mapping[str, int] = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Levels as syslog(3) counts them."""

Fields = list[tuple[str, str]]

# Each of these has a field that every program's entries have.
_TOLD_OTHERWISE = ("timestamp", "level", "logger")
_PLAIN_WORD = re.compile(r"[^\s\"'=]+")


def fields_of(event: Mapping[str, Any], record: LogRecord) -> Fields:
    """The entry of a masked event, in journald's names; `record` says where in the code it was told."""
    return [
        ("MESSAGE", message_of(event)),
        ("PRIORITY", str(priority_of(record.levelname))),
        ("SYSLOG_IDENTIFIER", IDENTIFIER),
        ("LOGGER", str(event.get("logger", record.name))),
        ("CODE_FILE", record.pathname),
        ("CODE_LINE", str(record.lineno)),
        ("CODE_FUNC", record.funcName or ""),
        *((field_name(key), _text(value)) for key, value in _facts(event)),
    ]


def message_of(event: Mapping[str, Any]) -> str:
    """The event with its facts on one line; what has several lines itself, such as a traceback, below."""
    words, below = [str(event.get("event", ""))], []
    for key, value in _facts(event):
        if key == "event":
            continue
        if isinstance(value, str) and "\n" in value:
            below.append(value)
        else:
            words.append(f"{key}={_word(value)}")
    # At text that steers a terminal journalctl shows none at all.
    return visible("\n".join([" ".join(words), *below]), keep="\n\t")


def field_name(key: str) -> str:
    """The name of a fact's field: journald takes capital letters, digits and underscores."""
    return (PREFIX + re.sub(r"[^A-Z0-9_]", "_", key.upper()))[:LONGEST_NAME]


def priority_of(level: str) -> int:
    """The level as a number of syslog; a level that nobody knows is one to be looked at."""
    return PRIORITIES.get(level.lower(), PRIORITIES["warning"])


def _facts(event: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in event.items() if key not in _TOLD_OTHERWISE]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _word(value: Any) -> str:
    is_plain = isinstance(value, str) and _PLAIN_WORD.fullmatch(value)
    return value if is_plain else json.dumps(value, ensure_ascii=False)
