"""Pydantic's findings as lines that name the place, the value and what it may be."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from spotd.settings.document import Document, Place
from spotd.settings.environment import Overlay
from spotd.settings.models import Settings
from spotd.settings.problems import Problem, did_you_mean, looks_secret, shown
from spotd.settings.schema import Slot, dotted, environment_name, slot_at

_ABSENT = object()


def validate(document: Document, overlay: Overlay, where: str) -> tuple[Settings | None, list[Problem]]:
    """The settings that file and environment make together, or everything that is wrong with them."""
    values = _merged(document.values or {}, overlay.values)
    try:
        return Settings.model_validate(values), []
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)
    report = _Report(document, overlay, values, where)
    return None, report.problems(findings)


def _merged(file_values: Mapping[str, Any], spoken: Mapping[Place, Any]) -> dict[str, Any]:
    """The environment wins over the file, key by key; a group left empty is a group not given."""
    merged: dict[str, Any] = {}
    for key, value in file_values.items():
        slot = slot_at((key,))
        if value is None and slot is not None and slot.model is not None:
            continue
        merged[key] = dict(value) if isinstance(value, dict) else value
    for place, value in spoken.items():
        group, key = map(str, place)
        held = merged.setdefault(group, {})
        if isinstance(held, dict):
            held[key] = value
    return merged


class _Report:
    """Findings turned into problems: one for each place, though a union has one finding per arm."""

    def __init__(self, document: Document, overlay: Overlay, values: dict[str, Any], where: str) -> None:
        self._lines = document.lines
        self._spoken = overlay.values
        self._values = values
        self._where = where

    def problems(self, findings: list[ErrorDetails]) -> list[Problem]:
        by_place: dict[tuple[Place, str], Problem] = {}
        for finding in findings:
            if finding["type"] == "refused":
                problem = self._of_a_group(finding)
                by_place[finding["loc"], str(problem)] = problem
                continue
            place = self._known_part(finding)
            by_place.setdefault((place, ""), self._at(place, self._sentence(finding, place)))
        places = [place for place, _ in by_place]
        # A list with a bad item is also no text: of a union's findings, the deepest tells most.
        return [
            problem for (place, kind), problem in by_place.items() if kind or not _goes_deeper(places, place)
        ]

    def _known_part(self, finding: ErrorDetails) -> Place:
        """The place without the names of union arms that pydantic puts behind it."""
        if finding["type"] == "missing":
            return finding["loc"]
        place: Place = ()
        value: Any = self._values
        for part in finding["loc"]:
            inner = _inside(value, part)
            if inner is not _ABSENT:
                place, value = (*place, part), inner
        return place

    def _sentence(self, finding: ErrorDetails, place: Place) -> str:
        slot = slot_at(place)
        if finding["type"] == "missing":
            return "is required"
        if finding["type"] == "extra_forbidden" or slot is None:
            return _unknown_key(place)
        value = self._value_at(place)
        text = "the value" if _must_hide(value, place, slot) else shown(value)
        if finding["type"] == "value_error":
            return f"{text} {finding['ctx']['error']}"
        if get_origin(slot.annotation) is Literal:
            return f"{text} is not valid; choices: {', '.join(get_args(slot.annotation))}"
        if value is None:
            return f"has no value; must be {slot.kind}"
        quotes = isinstance(value, bool | int | float) and "text" in slot.kind and not slot.is_structured
        return f"{text} is not valid; must be {slot.kind}{'; put it in quotes' if quotes else ''}"

    def _value_at(self, place: Place) -> Any:
        value: Any = self._values
        for part in place:
            value = _inside(value, part)
        return value

    def _of_a_group(self, finding: ErrorDetails) -> Problem:
        """Put it where one of the keys it speaks of was set, else where the group begins."""
        group, facts = finding["loc"], finding["ctx"]
        for key in facts["keys"]:
            place = (*group, key)
            if place in self._spoken:
                return Problem(where=environment_name(place), message=f"{dotted(group)}: {facts['sentence']}")
            if place in self._lines:
                line = self._lines[place]
                return Problem(where=self._where, line=line, key=dotted(group), message=facts["sentence"])
        return self._at(group, facts["sentence"])

    def _at(self, place: Place, message: str) -> Problem:
        """The problem at the deepest part of the place that somebody wrote."""
        for end in range(len(place), 0, -1):
            written = place[:end]
            if written in self._spoken:
                rest = dotted(place[end:])
                return Problem(
                    where=environment_name(written), message=f"{rest}: {message}" if rest else message
                )
            if written in self._lines:
                line = self._lines[written]
                return Problem(where=self._where, line=line, key=dotted(place), message=message)
        if len(place) > 1:
            return Problem(
                where=environment_name(place), message=f"{message} (or {dotted(place)} in the file)"
            )
        begun = [environment_name(other) for other in self._spoken if other[: len(place)] == place]
        return Problem(where=min(begun, default=self._where), key=dotted(place), message=message)


def _unknown_key(place: Place) -> str:
    group = slot_at(place[:-1])
    keys = list(group.model.model_fields) if group and group.model else []
    return f"unknown key{did_you_mean(str(place[-1]), keys)} (keys here: {', '.join(keys)})"


def _goes_deeper(places: list[Place], place: Place) -> bool:
    return any(len(other) > len(place) and other[: len(place)] == place for other in places)


def _must_hide(value: Any, place: Place, slot: Slot) -> bool:
    """A secret, or text where a group belongs: `netbox: TOKEN` is a slip that must not reach a log."""
    if value is None or isinstance(value, dict | list):
        return False
    has_secret_name = any(isinstance(part, str) and looks_secret(part) for part in place)
    return slot.is_secret or slot.model is not None or has_secret_name


def _inside(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return _ABSENT
