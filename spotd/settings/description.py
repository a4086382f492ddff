"""The settings as a table for people, and as values that may be shown to anyone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from spotd.settings.document import Place
from spotd.settings.models import Settings
from spotd.settings.problems import looks_secret
from spotd.settings.reload import RESTART_KEYS
from spotd.settings.schema import dotted, environment_name, leaves, slot_of

HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One row of the table of settings."""

    key: str
    """Dotted; keys of a list's items follow `[]`, as in aggregates.patterns[].pool."""
    environment: str | None
    """The variable that sets it; None for keys inside a list, which is set whole."""
    kind: str
    default: str
    """As it would be written in YAML on one line; `required` where there is none."""
    help: str
    needs_restart: bool


def describe_settings() -> tuple[SettingDescription, ...]:
    """Every setting in the order of the models."""
    return tuple(_described())


def settings_table_markdown() -> str:
    """The table of settings for the README, without a heading."""
    head = "| Setting | Environment | Value | Default | Meaning |\n|---|---|---|---|---|\n"
    return head + "".join(_row(setting) for setting in describe_settings())


def public_settings(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, with every secret hidden."""
    return {name: _public(getattr(settings, name), name) for name in type(settings).model_fields}


def secret_values(settings: Settings) -> tuple[str, ...]:
    """Every secret in clear, for whoever must keep them out of what is written."""
    return tuple(_secrets(settings))


def _described() -> Iterator[SettingDescription]:
    for place, field in leaves():
        yield _description(dotted(place), place, field)
        items = slot_of(field.annotation, field.metadata).items
        if items is not None and items.model is not None:
            for name, item_field in items.model.model_fields.items():
                yield _description(f"{dotted(place)}[].{name}", None, item_field)


def _description(key: str, place: Place | None, field: FieldInfo) -> SettingDescription:
    return SettingDescription(
        key=key,
        environment=environment_name(place) if place else None,
        kind=slot_of(field.annotation, field.metadata).kind,
        default=_default(field),
        help=field.description or "",
        needs_restart=key in RESTART_KEYS,
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined or default is None:
        return "none"
    if isinstance(default, float) and default.is_integer():
        return str(int(default))
    if isinstance(default, tuple) and default and isinstance(default[0], BaseModel):
        return f"{len(default)} items"
    return str(default) if isinstance(default, str) else json.dumps(_public(default))


def _row(setting: SettingDescription) -> str:
    restart = " Needs a restart." if setting.needs_restart else ""
    environment = f"`{setting.environment}`" if setting.environment else "part of the list above"
    default = setting.default if setting.default in ("none", "required") else f"`{setting.default}`"
    cells = (f"`{setting.key}`", environment, setting.kind, default, setting.help + restart)
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |\n"


def _public(value: Any, key: str = "") -> Any:
    if isinstance(value, BaseModel):
        return {name: _public(getattr(value, name), name) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _public(held, str(name)) for name, held in value.items()}
    if isinstance(value, list | tuple):
        return [_public(item, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr) or looks_secret(key):
        return HIDDEN
    return value if isinstance(value, int | float) else str(value)


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets(getattr(value, name))
        case dict():
            for held in value.values():
                yield from _secrets(held)
        case list() | tuple():
            for item in value:
                yield from _secrets(item)
