"""The NetBox agent: all devices once, then what changed, with a full read now and then."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog

from spotd.agents.position import position_at
from spotd.agents.state import Outcome
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure, incomplete
from spotd.clouds.netbox import NetBox
from spotd.fleet.readings import Reading, Source
from spotd.fleet.unread import unread_fields
from spotd.fleet.values import Device, Inventory

OVERLAP = timedelta(minutes=2)
"""How far a change is looked for behind the last look: NetBox stamps a change before it commits it."""

log = structlog.get_logger(__name__)


class NetBoxAgent:
    """Keeps the device inventory; one thread at a time may call `collect`."""

    def __init__(self, netbox: NetBox, clock: Clock, *, full_resync_seconds: float) -> None:
        self._netbox = netbox
        self._clock = clock
        self._full_resync_seconds = full_resync_seconds
        self._devices: dict[int, Device] | None = None
        self._groups: dict[int, str | None] = {}
        self._seen_until: datetime | None = None
        self._full_at: float | None = None
        self._unread: frozenset[str] = frozenset()

    def collect(self) -> Outcome:
        """All devices that fit the configured query.

        Raises:
            CloudError: No whole answer; `INCOMPLETE` where all vanished at once.
        """
        read_at = self._clock.now()
        if self._full_is_due() or not self._read_changes():
            self._read_all()
        devices = self._devices or {}
        self._tell_unread(devices.values())
        reading: Reading[object] = Reading(value=Inventory(devices=dict(devices)), read_at=read_at)
        return Outcome(readings={Source.NETBOX: reading}, items={"devices": len(devices)})

    def _tell_unread(self, devices: Iterable[Device]) -> None:
        """Logs each field whose values cannot be read, once until all of them can."""
        found = unread_fields(devices)
        for field in found:
            if field.name in self._unread:
                continue
            facts = {"field": field.name, "devices": field.devices}
            if field.example is None:
                log.warning("netbox custom field is on no device, so it is unknown", **facts)
            else:
                log.warning(
                    "netbox field cannot be read, so it is unknown",
                    **facts,
                    device=field.example,
                    value=field.value,
                )
        self._unread = frozenset(field.name for field in found)

    def _position(self, clock: datetime | None) -> datetime | None:
        if clock is None:
            return None
        return position_at(clock, self._clock.now(), OVERLAP, "netbox: its answers say")

    def _full_is_due(self) -> bool:
        if self._devices is None or self._seen_until is None or self._full_at is None:
            return True
        return self._clock.monotonic() - self._full_at >= self._full_resync_seconds

    def _read_changes(self) -> bool:
        """Follows the changes; False where the token may not read the change log."""
        assert self._devices is not None  # noqa: S101 - a full read came first
        assert self._seen_until is not None  # noqa: S101 - likewise
        try:
            found, clock = self._netbox.device_changes(self._seen_until - OVERLAP, self._groups)
        except CloudError as error:
            if error.reason is Failure.FORBIDDEN:
                return False
            raise
        devices = {key: device for key, device in self._devices.items() if key not in found.gone}
        devices.update((device.id, device) for device in found.changed)
        self._devices = devices
        self._seen_until = self._position(clock)
        return True

    def _read_all(self) -> None:
        groups = self._netbox.tenant_groups()
        if not groups and self._groups:
            raise incomplete("netbox: no tenant at all, where there were some before")
        devices, clock = self._netbox.devices(groups)
        seen_until = self._position(clock)
        if not devices and self._devices:
            raise incomplete("netbox: no device at all, where there were some before")
        self._devices = {device.id: device for device in devices}
        self._groups, self._seen_until = groups, seen_until
        self._full_at = self._clock.monotonic()
