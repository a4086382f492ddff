"""From a rules file to rules, or to every reason why not, each with its line."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails

from spotd.fleet.snapshot import Pool
from spotd.planning.expressions import Expression, ExpressionError, parse_expression
from spotd.planning.facts import FactType
from spotd.planning.models import MOST_RULES, RuleModel, RulesFile
from spotd.planning.rules import OpenTime, Rule, Rules
from spotd.planning.values import in_words
from spotd.settings.document import Document, Place, parse_document, read_document
from spotd.settings.problems import ConfigurationError, Problem, did_you_mean, shown
from spotd.settings.schema import Slot, dotted, slot_of

MOST_STEPS_OF_A_FILE = 50_000
"""What the expressions of a file may cost together for one GPU type, as `cost` counts: some milliseconds."""


def load_rules(path: Path) -> Rules:
    """The rules of a file.

    Raises:
        ConfigurationError: With every mistake.
    """
    return _rules(read_document(path), str(path))


def parse_rules(text: str, where: str = "rules") -> Rules:
    """The rules of a text.

    Raises:
        ConfigurationError: With every mistake.
    """
    return _rules(parse_document(text, where), where)


class _Schema(GenerateJsonSchema):
    """A schema whose defaults are written as a file writes them."""

    def encode_default(self, dft: Any) -> Any:
        return in_words(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def rules_schema() -> dict[str, Any]:
    """The JSON schema of rules files, for editors."""
    schema = RulesFile.model_json_schema(by_alias=True, schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _rules(document: Document, where: str) -> Rules:
    problems = list(document.problems)
    if document.values is None:
        raise ConfigurationError(problems)
    desk = _Desk(document, where)
    model = desk.model(document.values)
    problems += desk.problems
    if problems or model is None:
        raise ConfigurationError(problems)
    return Rules(
        mode=model.mode,
        time_zone=model.time_zone,
        limits=model.limits,
        max_age=model.max_age,
        freeze_dates=model.freeze_dates,
        rules=tuple(desk.rule(rule, place, model.time_zone) for place, rule in enumerate(model.rules)),
    )


class _Desk:
    """Reads one document and gathers what is wrong with it."""

    def __init__(self, document: Document, where: str) -> None:
        self.problems: list[Problem] = []
        self._document = document
        self._where = where

    def model(self, values: dict[str, Any]) -> RulesFile | None:
        """The file as its model; expressions and names are checked even where other keys are wrong."""
        model, findings = None, []
        try:
            model = RulesFile.model_validate(values)
        except ValidationError as error:
            findings = error.errors(include_url=False, include_input=False)
        for finding in findings:
            place, message = self._finding(finding, values)
            self._refuse(place, message)
        self._check_names(values)
        self._check_expressions(values)
        return model

    def rule(self, model: RuleModel, place: int, time_zone: str) -> Rule:
        """The compiled rule of a model that has been checked."""
        count = model.count
        given = {name: getattr(model, name) for name in ("name", "gpu_types", "variant", "sites", "tenants")}
        given |= {name: getattr(model, name) for name in ("to_variant", "contract", "hold", "at_most")}
        return Rule(
            **given,
            from_pools=tuple(map(Pool, model.from_pools)),
            to=Pool(model.to),
            when=self._compiled[place, "when"],
            until=self._compiled.get((place, "until")),
            count=count if isinstance(count, int) else self._compiled[place, "count"],
            hosts=model.hosts,
            limits=model.limits,
            windows=tuple(
                OpenTime(cron=window.cron, length=window.length, time_zone=window.time_zone or time_zone)
                for window in model.windows
            ),
        )

    def _check_names(self, values: dict[str, Any]) -> None:
        first: dict[str, int] = {}
        for place, rule in _items(values):
            name = rule.get("name")
            if isinstance(name, str) and name in first:
                self._refuse(
                    ("rules", place, "name"), f"{name!r} is the name of rules[{first[name]}] already"
                )
            elif isinstance(name, str):
                first[name] = place

    def _check_expressions(self, values: dict[str, Any]) -> None:
        self._compiled: dict[tuple[int, str], Expression] = {}
        kinds: dict[str, FactType] = {"when": "bool", "until": "bool", "count": "int"}
        for place, rule in itertools.islice(_items(values), MOST_RULES):
            for key, wanted in kinds.items():
                text = rule.get(key)
                if isinstance(text, str):
                    self._compile(place, key, text, wanted)
        if sum(expression.steps for expression in self._compiled.values()) > MOST_STEPS_OF_A_FILE:
            most = f"{MOST_STEPS_OF_A_FILE:,} steps for all expressions together"
            self._refuse(("rules",), f"costs too much: more than {most}; macros within macros multiply")

    def _compile(self, place: int, key: str, text: str, wanted: FactType) -> None:
        try:
            self._compiled[place, key] = parse_expression(text, wanted)
        except ExpressionError as error:
            for line in str(error).splitlines():
                self._refuse(("rules", place, key), line)

    def _refuse(self, place: Place, message: str) -> None:
        lines = self._document.lines
        ends = range(len(place), 0, -1)
        line = next((lines[place[:end]] for end in ends if place[:end] in lines), None)
        self.problems.append(
            Problem(where=self._where, line=line, key=dotted(place) or None, message=message)
        )

    def _finding(self, finding: ErrorDetails, values: dict[str, Any]) -> tuple[Place, str]:
        place, context = finding["loc"], finding.get("ctx", {})
        kind = finding["type"]
        if kind == "refused":
            return (*place, context["keys"][0]), context["sentence"]
        slot = _slot_at(place)
        if kind == "missing":
            return place, "is required"
        if kind == "extra_forbidden" or slot is None:
            return place, _unknown_key(place)
        value = _value_at(values, place)
        return place, _not_valid(slot, kind, value, context)


def _items(values: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    rules = values.get("rules")
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        if isinstance(rule, dict):
            yield place, rule


def _keys(model: type[BaseModel]) -> dict[str, str]:
    """The fields of a group by the key that a file has for them."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _slot_at(place: Place) -> Slot | None:
    slot: Slot | None = Slot(RulesFile)
    for part in place:
        if slot is not None and slot.model is not None:
            part = _keys(slot.model).get(str(part), "")  # noqa: PLW2901 - the key's field
        slot = slot.child(part) if slot else None
    return slot


def _kind(slot: Slot) -> str:
    if slot.model is not None:
        return f"a group of keys ({', '.join(_keys(slot.model))})"
    items = slot_of(slot.annotation).items
    return f"a list of {'groups of keys' if items.model else 'text'}" if items else slot.kind


def _not_valid(slot: Slot, kind: str, value: Any, context: dict[str, Any]) -> str:
    if kind == "value_error":
        return f"{shown(value)} {context['error']}"
    if kind == "too_long":
        return f"holds more than {context['max_length']}"
    if kind == "too_short":
        return "is empty; must name at least one"
    if get_origin(slot.annotation) is Literal:
        return f"{shown(value)} is not valid; choices: {', '.join(get_args(slot.annotation))}"
    return f"{shown(value)} is not valid; must be {_kind(slot)}"


def _unknown_key(place: Place) -> str:
    group = _slot_at(place[:-1])
    keys = list(_keys(group.model)) if group and group.model else []
    return f"unknown key{did_you_mean(str(place[-1]), keys)} (keys here: {', '.join(keys)})"


def _value_at(values: Any, place: Place) -> Any:
    for part in place:
        values = values[part]
    return values
