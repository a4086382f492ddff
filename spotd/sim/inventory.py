"""NetBox's state: devices, tenants, tags, tokens and the log of changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spotd.sim.errors import NotFoundError

TOKEN = "simv1token0000000000000000000000000000ab"  # noqa: S105 - the embedded NetBox holds no real data
TOKEN_V2 = "nbt_simv2key0001.simv2secret00000000000000000000000000000"  # noqa: S105 - likewise
TOKEN_WITHOUT_RIGHTS = "simnoperm0000000000000000000000000000000"  # noqa: S105 - likewise
STATUSES = {
    "offline": "Offline",
    "active": "Active",
    "planned": "Planned",
    "staged": "Staged",
    "failed": "Failed",
    "inventory": "Inventory",
    "decommissioning": "Decommissioning",
}
ROLE = ("gpu-hypervisor", "GPU Hypervisor")
Version = tuple[int, int]
NEWEST: Version = (4, 7)


def slugify(name: str) -> str:
    """A name as NetBox writes it in URLs."""
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _natural(name: str) -> list[tuple[int, str]]:
    """NetBox sorts names as people do: `node8` before `node10`, without regard to case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


@dataclass(slots=True)
class Tenant:
    """A tenant and the group it belongs to."""

    id: int
    name: str
    group_id: int
    group: str
    created: datetime
    last_updated: datetime


@dataclass(slots=True)
class Device:
    """A device; `tags` are slugs."""

    id: int
    name: str
    status: str
    site: str
    rack: str
    tenant_id: int
    model: str
    maker: str
    tags: tuple[str, ...]
    custom_fields: dict[str, Any]
    created: datetime
    last_updated: datetime
    fragments: dict[Any, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Change:
    """One line of NetBox's change log."""

    id: int
    time: datetime
    action: str
    device_id: int
    name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


class Inventory:
    """What NetBox knows. Deleted devices are gone; only the change log tells of them."""

    def __init__(self) -> None:
        self.devices: dict[int, Device] = {}
        self.tenants: dict[int, Tenant] = {}
        self.sites: dict[str, str] = {"CA1": "Canada 1", "NO1": "Norway 1", "US1": "US 1"}
        self.models: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.changes: list[Change] = []
        self.tokens = {TOKEN, TOKEN_V2}
        self.powerless = {TOKEN_WITHOUT_RIGHTS}
        self.sorted_ids: list[int] | None = None
        self.version = NEWEST
        """The release that NetBox answers like, from 3.5 on."""
        self.names_version = True
        """Whether answers carry the header `API-Version`, which some proxies drop."""

    def upgrade(self, version: Version) -> None:
        """From now on NetBox answers as this release does."""
        self.version = version
        for device in self.devices.values():
            device.fragments.clear()

    def device(self, name: str) -> Device:
        """The device of this name.

        Raises:
            NotFoundError: there is none.
        """
        for device in self.devices.values():
            if device.name == name:
                return device
        raise NotFoundError("No Device matches the given query.")

    def by_name(self) -> list[int]:
        """Device ids in the order of names, as lists without a cursor have them."""
        if self.sorted_ids is None:
            self.sorted_ids = sorted(
                self.devices, key=lambda number: (_natural(self.devices[number].name), number)
            )
        return self.sorted_ids

    def add(self, device: Device) -> None:
        """Take in a device."""
        self.devices[device.id] = device
        self.sorted_ids = None
        self._log("create", device, {}, self.facts(device), device.created)

    def edit(
        self,
        name: str,
        now: datetime,
        *,
        status: str | None = None,
        tags: tuple[str, ...] | None = None,
        custom_fields: Mapping[str, Any] | None = None,
        tenant_id: int | None = None,
    ) -> Device:
        """Change a device; its `last_updated` moves even when nothing differs."""
        device = self.device(name)
        before = self.facts(device)
        device.status = status or device.status
        device.tenant_id = tenant_id or device.tenant_id
        device.custom_fields = {**device.custom_fields, **(custom_fields or {})}
        if tags is not None:
            device.tags = tags
            self.tags += [tag for tag in tags if tag not in self.tags]
        device.last_updated = now
        device.fragments.clear()
        self._log("update", device, before, self.facts(device), now)
        return device

    def delete(self, name: str, now: datetime) -> None:
        """Delete a device: no list shows it any more, incremental ones neither."""
        device = self.device(name)
        del self.devices[device.id]
        self.sorted_ids = None
        self._log("delete", device, self.facts(device), {}, now)

    def rename_tenant(self, tenant_id: int, name: str, now: datetime) -> None:
        """Rename a tenant; its devices' `last_updated` stays."""
        tenant = self.tenants[tenant_id]
        tenant.name, tenant.last_updated = name, now
        for device in self.devices.values():
            if device.tenant_id == tenant_id:
                device.fragments.clear()

    def facts(self, device: Device) -> dict[str, Any]:
        """A device as the change log keeps it."""
        return {
            "name": device.name,
            "status": device.status,
            "tenant": device.tenant_id,
            "serial": f"SN{device.id:06d}",
            "tags": list(device.tags),
            "custom_fields": dict(device.custom_fields),
        }

    def _log(
        self, action: str, device: Device, before: Mapping[str, Any], after: Mapping[str, Any], when: datetime
    ) -> None:
        number = len(self.changes) + 1
        self.changes.append(Change(number, when, action, device.id, device.name, before, after))
