"""Rows of NetBox's lists: plain other forms are read, what cannot be read is unknown and named."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from spotd.clouds.errors import malformed
from spotd.clouds.shape import name_of, whole_number
from spotd.fleet.gpu_names import MOST_GPUS
from spotd.fleet.values import Device, Unread
from spotd.logs import mask_text
from spotd.settings.models import NetBoxSettings

LONGEST_SHOWN = 60
"""Characters of a value that are shown: enough to find it in NetBox."""

_LOOKED_AT = 1000
"""Characters of a value in which secrets are looked for, before it is cut."""
_WHOLE = re.compile(r"0{0,9}([0-9]{1,9})(?:\.0{1,9})?")
"""Decimal fields come as texts such as `8.0000`."""
_WORDS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_CHOICE = frozenset({"value", "label"})

_Fact = TypeVar("_Fact")


class _OddError(ValueError):
    """A value that is there and says nothing that can be read."""


def device_of(
    row: Mapping[str, Any], settings: NetBoxSettings, tenant_groups: Mapping[int, str | None]
) -> Device | None:
    """A device as lists show it; None for one without a name, which nothing can be joined to.

    Raises:
        CloudError: Its id, name, status or custom fields are not there or of another kind.
    """
    number = whole_number(row, "id", "netbox: device")
    what = f"netbox: device {number}"
    name = _name(row.get("name"), what)
    if name is None:
        return None
    fields, tenant = row.get("custom_fields"), row.get("tenant")
    if not isinstance(fields, dict):
        raise malformed(f"{what}: 'custom_fields' is no object", fields)
    unread: list[Unread] = []

    def fact(key: str, value: Any, read: Callable[[Any], _Fact]) -> _Fact | None:
        try:
            return read(value)
        except _OddError:
            unread.append(Unread(field=key, value=shown(value)))
            return None

    def custom(key: str, read: Callable[[Any], _Fact]) -> _Fact | None:
        if key not in fields:
            unread.append(Unread(field=key, value=None))
            return None
        return fact(key, fields[key], lambda value: _unwrapped(value, read))

    slugs = _tags(row.get("tags"))
    if slugs is None or None in slugs:
        unread.append(Unread(field="tags", value=shown(row.get("tags"))))
    return Device(
        id=number,
        name=name,
        status=_status(row.get("status"), what),
        # Before 3.6 NetBox calls it so.
        role=fact("role", row.get("role", row.get("device_role")), _slug),
        site=fact("site", row.get("site"), _named),
        rack=fact("rack", row.get("rack"), _named),
        tenant=fact("tenant", tenant, _named),
        tenant_group=tenant_groups.get(_id_of(tenant)),
        tags=tuple(slug for slug in slugs or () if slug is not None),
        nvlink=custom(settings.nvlink_field, _truth),
        gpu_count=custom(settings.gpu_count_field, _count),
        unread=tuple(unread),
    )


def group_of(row: Mapping[str, Any], what: str) -> str | None:
    """The name of a tenant's group; None where it is in none.

    Raises:
        CloudError: The group is there and has no name.
    """
    try:
        return _named(row.get("group"))
    except _OddError:
        raise malformed(f"{what}: 'group' has no name", row.get("group")) from None


def shown(value: object) -> str:
    """A value of NetBox's in plain characters, bounded, without what looks like a secret."""
    text = mask_text(json.dumps(value)[:_LOOKED_AT])
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _unwrapped(value: Any, read: Callable[[Any], _Fact]) -> _Fact | None:
    """A custom field's fact; selections come as lists and as objects of a value and its label."""
    if isinstance(value, list):
        if not value:
            return None
        if len(value) > 1:
            raise _OddError
        value = value[0]
    if isinstance(value, dict):
        if "value" not in value or value.keys() - _CHOICE:
            raise _OddError
        return _of_choice([value["value"], value.get("label")], read)
    return None if _is_blank(value) else read(value)


def _of_choice(said: Sequence[Any], read: Callable[[Any], _Fact]) -> _Fact | None:
    """The one fact that value and label tell; either may be a mere word for it."""
    facts: set[_Fact] = set()
    for one in said:
        try:
            facts |= set() if _is_blank(one) else {read(one)}
        except _OddError:
            continue
    if len(facts) > 1 or (not facts and not all(map(_is_blank, said))):
        raise _OddError
    return facts.pop() if facts else None


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _count(value: Any) -> int:
    if isinstance(value, str) and (found := _WHOLE.fullmatch(value.strip())):
        value = int(found[1])
    # Ordered so that infinity and what is no number are out before they are made whole.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_GPUS:
        raise _OddError
    if value != int(value):
        raise _OddError
    return int(value)


def _truth(value: Any) -> bool:
    if isinstance(value, str) and value.strip().casefold() in _WORDS:
        return _WORDS[value.strip().casefold()]
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    raise _OddError


def _named(value: Any) -> str | None:
    return _word(value, "name")


def _slug(value: Any) -> str | None:
    return _word(value, "slug")


def _word(value: Any, attribute: str) -> str | None:
    """What a related object is called; some proxies give that in its place."""
    if _is_blank(value):
        return None
    found = value.get(attribute) if isinstance(value, dict) else value
    if isinstance(found, int) and not isinstance(found, bool) and isinstance(value, dict):
        return str(found)
    if not isinstance(found, str) or not found.strip():
        raise _OddError
    return found


def _tags(tags: Any) -> list[str | None] | None:
    """Slugs, None among them for a tag without; None where it is no list of tags."""
    if tags is None:
        return []
    if not isinstance(tags, list):
        return None
    return [_slug_or_none(tag) for tag in tags]


def _slug_or_none(tag: Any) -> str | None:
    slug = tag.get("slug") if isinstance(tag, dict) else tag
    return slug if isinstance(slug, str) and slug.strip() else None


def _id_of(tenant: Any) -> int:
    """The id of a tenant, which some proxies give in its place; -1 where there is none."""
    number = tenant.get("id") if isinstance(tenant, dict) else tenant
    return number if isinstance(number, int) and not isinstance(number, bool) else -1


def _status(status: Any, what: str) -> str:
    if not isinstance(status, dict):
        return name_of({"status": status}, "status", what)
    value = status.get("value")
    if not isinstance(value, str) or not value.strip():
        raise malformed(f"{what}: 'status' has no value that is a text", value)
    return value


def _name(name: Any, what: str) -> str | None:
    if _is_blank(name):
        return None
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    return name_of({"name": name}, "name", what)
