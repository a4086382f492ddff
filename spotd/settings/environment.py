"""Settings from the environment: `SPOTD_GROUP__KEY`, with JSON for lists and mappings."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spotd.settings.document import Place
from spotd.settings.problems import Problem, did_you_mean
from spotd.settings.schema import DELIMITER, PREFIX, Slot, environment_name, leaves, slot_at

NOT_SETTINGS = (
    # Where the configuration file is; the command line reads it.
    r"SPOTD_CONFIG_FILE",
    # Kubernetes sets these in every pod beside a Service that is named spotd.
    r"SPOTD_SERVICE_.*",
    r"SPOTD_PORT(_.*)?",
    # The test suite's own switches.
    r"SPOTD_TEST_.*",
    r"SPOTD_LAB(_.*)?",
)
_IGNORED = re.compile("|".join(NOT_SETTINGS))


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the environment sets, and which variable set it."""

    values: Mapping[Place, Any]
    problems: tuple[Problem, ...] = ()


def read_environment(environ: Mapping[str, str]) -> Overlay:
    """Every `SPOTD_` variable as a key and its value; unknown names are refused."""
    known = {environment_name(place): place for place, _ in leaves()}
    values: dict[Place, Any] = {}
    problems: list[Problem] = []
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or _IGNORED.fullmatch(name):
            continue
        place = known.get(name)
        slot = slot_at(place) if place else None
        if place is None or slot is None:
            problems.append(Problem(where=name, message=_unknown(name, known)))
            continue
        try:
            values[place] = _value(text, slot)
        except (ValueError, RecursionError) as error:
            problems.append(Problem(where=name, message=_why(error, slot)))
    return Overlay(values, tuple(problems))


def _value(text: str, slot: Slot) -> Any:
    if not text:
        raise ValueError("is empty: give it a value or unset it")
    return json.loads(text, object_pairs_hook=_without_duplicates) if slot.is_structured else text


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("has a key twice")
    return values


def _why(error: Exception, slot: Slot) -> str:
    if isinstance(error, json.JSONDecodeError):
        # Without the text itself: JSON says where, and the operator has the variable.
        return f"is not JSON ({error.msg.lower()} at character {error.pos + 1}); must be {slot.kind}, as JSON"
    return "is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _unknown(name: str, known: Mapping[str, Place]) -> str:
    for other in known:
        if name.startswith(f"{other}{DELIMITER}"):
            return f"is part of {other}; set that one, whole, as JSON"
    parts = [other for other in known if other.startswith(f"{name}{DELIMITER}")]
    if parts:
        return f"is a group; set its keys: {', '.join(parts)}"
    hint = did_you_mean(name, known) or "; names are SPOTD_GROUP__KEY, such as SPOTD_CACHE__BACKEND"
    return f"unknown setting{hint}"
