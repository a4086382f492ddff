"""A snapshot renewed without joining: most refreshes bring what is known already, and joining costs most."""

from dataclasses import replace
from datetime import datetime

from spotd.fleet.gpu_facts import are_simultaneous
from spotd.fleet.snapshot import FleetSnapshot, Readings
from spotd.fleet.values import Gpus


def renewed(before: FleetSnapshot, readings: Readings, assembled_at: datetime) -> FleetSnapshot | None:
    """The snapshot that `assemble` would make; None where that has to be asked."""
    old = before.readings
    is_same = (
        old.unconfigured == readings.unconfigured
        and _value(old.services) == _value(readings.services)
        and _value(old.aggregates) == _value(readings.aggregates)
        and _value(old.netbox) == _value(readings.netbox)
        and _value(old.servers) == _value(readings.servers)
        and _same_gpus(
            old.gpus.value if old.gpus is not None else None,
            readings.gpus.value if readings.gpus is not None else None,
        )
        and are_simultaneous(old) == are_simultaneous(readings)
    )
    return replace(before, readings=readings, assembled_at=assembled_at) if is_same else None


def _value(reading: object) -> object:
    return getattr(reading, "value", None)


def _same_gpus(old: Gpus | None, new: Gpus | None) -> bool:
    """Whether the counts are the same, whenever they were read."""
    if old is None or new is None:
        return old is new
    return old.unread == new.unread and old.trees == new.trees
