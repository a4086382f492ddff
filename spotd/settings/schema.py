"""What the models say about each key: its kind in words, its choices, and whether it is secret."""

import functools
import operator
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from spotd.settings.document import Place
from spotd.settings.models import Settings

PREFIX = "SPOTD_"
DELIMITER = "__"
_WORDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    Path: "a path",
    datetime: "a time with its zone, such as 2030-01-31T12:00:00Z",
    SecretStr: "text (secret)",
    int: "a whole number",
    float: "a number",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for a value: its type without `Annotated` and without `None`, and what bounds it."""

    annotation: Any
    bounds: tuple[Any, ...] = ()

    @property
    def model(self) -> type[BaseModel] | None:
        """The group that stands here, if it is one."""
        is_model = isinstance(self.annotation, type) and issubclass(self.annotation, BaseModel)
        return self.annotation if is_model else None

    @property
    def items(self) -> "Slot | None":
        """The slot of a list's items or a mapping's values."""
        origin, arguments = get_origin(self.annotation), get_args(self.annotation)
        if _is_union(self.annotation):
            return next((items for arm in arguments if (items := slot_of(arm).items)), None)
        if origin in (tuple, list):
            return slot_of(arguments[0])
        return slot_of(arguments[1]) if origin is dict else None

    @property
    def is_secret(self) -> bool:
        """Whether the value is never shown."""
        return self.annotation is SecretStr

    @property
    def is_structured(self) -> bool:
        """Whether the environment gives it as JSON."""
        return get_origin(self.annotation) in (tuple, list, dict)

    @property
    def kind(self) -> str:
        """What a value here must be, such as `a number of at least 1 and at most 60`."""
        if self.model is not None:
            return f"a group of keys ({', '.join(self.model.model_fields)})"
        origin, arguments = get_origin(self.annotation), get_args(self.annotation)
        if origin is Literal:
            return f"one of {', '.join(map(str, arguments))}"
        if _is_union(self.annotation):
            return " or ".join(slot_of(arm).kind for arm in arguments)
        if self.items is not None:
            items = "groups of keys" if self.items.model else self.items.kind.removeprefix("a ")
            return f"a mapping of text to {self.items.kind}" if origin is dict else f"a list of {items}"
        return _WORDS.get(self.annotation, str(self.annotation)) + _bounds_in_words(self.bounds)

    def child(self, part: str | int) -> "Slot | None":
        """The slot one key or one list position further in."""
        if self.model is not None:
            field = self.model.model_fields.get(str(part))
            return slot_of(field.annotation, field.metadata) if field else None
        return self.items


ROOT = Slot(Settings)


def slot_of(annotation: Any, bounds: Sequence[Any] = ()) -> Slot:
    """The slot of a type as it is written in a model."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        unfolded = [
            bound for item in extra for bound in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        return slot_of(inner, (*unfolded, *bounds))
    if _is_union(annotation) and type(None) in get_args(annotation):
        arms = [arm for arm in get_args(annotation) if arm is not type(None)]
        return slot_of(functools.reduce(operator.or_, arms), bounds)
    return Slot(annotation, tuple(bounds))


def slot_at(place: Place) -> Slot | None:
    """The slot of a place in the configuration; None where there is no such key."""
    slot: Slot | None = ROOT
    for part in place:
        slot = slot.child(part) if slot else None
    return slot


def leaves(slot: Slot = ROOT, place: Place = ()) -> Iterator[tuple[Place, FieldInfo]]:
    """Every key that holds a value of its own, in the order of the models."""
    for name, field in slot.model.model_fields.items() if slot.model else ():
        child = slot_of(field.annotation, field.metadata)
        if child.model is not None:
            yield from leaves(child, (*place, name))
        else:
            yield (*place, name), field


def environment_name(place: Place) -> str:
    """The variable that sets the key."""
    return PREFIX + DELIMITER.join(str(part).upper() for part in place)


def dotted(place: Place) -> str:
    """The key as it is written in messages, such as aggregates.patterns[0].pool."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _bounds_in_words(bounds: Sequence[Any]) -> str:
    words = [
        f"{word} {value:,}" if isinstance(value, int) else f"{word} {value:,g}"
        for name, word in (("gt", "more than"), ("ge", "at least"), ("le", "at most"))
        for bound in bounds
        if (value := getattr(bound, name, None)) is not None
    ]
    return " of " + " and ".join(words) if words else ""
