"""Which fields of NetBox's devices cannot be read, and on how many devices."""

from collections.abc import Iterable
from dataclasses import dataclass

from spotd.fleet.values import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadField:
    """A field that is unknown on some devices though something is said of it, or that no device has."""

    name: str
    devices: int
    """On how many devices it is so."""
    example: str | None = None
    """The name of one of them; None where no device has the field at all."""
    value: str | None = None
    """What stands there, as it may be shown."""


def unread_fields(devices: Iterable[Device]) -> tuple[UnreadField, ...]:
    """The fields that cannot be read, by name.

    A custom field that some devices have and others lack is no finding: NetBox gives it to all or none.
    """
    counts: dict[str, int] = {}
    absent: dict[str, int] = {}
    examples: dict[str, tuple[str, str]] = {}
    total = 0
    for device in devices:
        total += 1
        for one in device.unread:
            if one.value is None:
                absent[one.field] = absent.get(one.field, 0) + 1
                continue
            counts[one.field] = counts.get(one.field, 0) + 1
            examples[one.field] = min(
                examples.get(one.field, (device.name, one.value)), (device.name, one.value)
            )
    odd = [
        UnreadField(name=name, devices=count, example=examples[name][0], value=examples[name][1])
        for name, count in counts.items()
    ]
    nowhere = [UnreadField(name=name, devices=count) for name, count in absent.items() if count == total]
    return tuple(sorted((*odd, *nowhere), key=lambda field: field.name))
