"""NetBox's objects as JSON, device fragments kept as text until the device changes."""

from datetime import datetime
from typing import Any

from spotd.sim.identity import stable_id
from spotd.sim.inventory import ROLE, STATUSES, Change, Device, Tenant, Version, slugify
from spotd.sim.wire import compact
from spotd.sim.world import World

RACKS_PER_SITE = 20
_TENANT_WORDS = "circuit device ipaddress prefix rack site virtualmachine vlan vrf cluster"
TENANT_COUNTS = _TENANT_WORDS.split()
ACTIONS = {"create": "created", "update": "updated", "delete": "deleted"}
_BEFORE_STATUS = "position face latitude longitude parent_device"
_AFTER_STATUS = (
    "airflow cooling_method primary_ip primary_ip4 primary_ip6 oob_ip cluster virtual_chassis "
    "vc_position vc_priority"
)
_COUNT_WORDS = (
    "console_port_count console_server_port_count power_port_count power_outlet_count "
    "cooling_intake_count cooling_outflow_count interface_count front_port_count rear_port_count "
    "device_bay_count module_bay_count inventory_item_count"
)
COUNTS = _COUNT_WORDS.split()
CAME_WITH: dict[Version, tuple[str, ...]] = {
    (3, 6): ("role", "latitude", "longitude", "oob_ip", *COUNTS),
    (4, 1): ("display_url",),
    (4, 5): ("owner",),
    (4, 7): ("cooling_method", "cooling_intake_count", "cooling_outflow_count"),
}
"""The keys of a device that older releases do not have, by the release that brought them."""
OLD_ROLE_GONE: Version = (4, 0)
Key = tuple[tuple[str, ...] | None, tuple[str, ...] | None, str]
"""The fields asked for, those left out, and the server's URL."""


def moment(when: datetime) -> str:
    """`2026-11-24T00:26:44.513171Z`."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def nested(base: str, path: str, number: int, shown: str, /, **more: Any) -> dict[str, Any]:
    """A related object as it stands inside another."""
    row: dict[str, Any] = {"id": number, "url": f"{base}/api/{path}/{number}/", "display": shown}
    return {**row, **more}


def device_fragment(world: World, base: str, device: Device, key: Key) -> str:
    """A device's JSON with the chosen fields, kept until it changes."""
    text = device.fragments.get(key)
    if text is None:
        fields, omitted, _ = key
        row = {
            name: value
            for name, value in device_view(world, base, device).items()
            if (fields is None or name in fields) and (omitted is None or name not in omitted)
        }
        text = device.fragments[key] = compact(row)
    return text


def device_view(world: World, base: str, device: Device) -> dict[str, Any]:
    """A device with everything that a NetBox of this release tells of it."""
    version, row = world.netbox.version, _newest_view(world, base, device)
    if version < OLD_ROLE_GONE:
        row["device_role"] = row["role"]
    later = {key for since, keys in CAME_WITH.items() if version < since for key in keys}
    return {key: value for key, value in row.items() if key not in later}


def _newest_view(world: World, base: str, device: Device) -> dict[str, Any]:
    url = f"{base}/api/dcim/devices/{device.id}/"
    return {
        "id": device.id,
        "url": url,
        "display_url": f"{base}/dcim/devices/{device.id}/",
        "display": device.name,
        "name": device.name,
        "device_type": _device_type(world, base, device),
        "role": _role(base),
        "tenant": _tenant(world, base, device),
        "platform": None,
        "serial": f"SN{device.id:06d}",
        "asset_tag": None,
        **_place(world, base, device),
        **dict.fromkeys(_BEFORE_STATUS.split()),
        "status": {"value": device.status, "label": STATUSES[device.status]},
        **dict.fromkeys(_AFTER_STATUS.split()),
        "description": "",
        "owner": None,
        "comments": "",
        "config_template": None,
        "config_context": {},
        "local_context_data": None,
        "tags": [_tag(world, base, tag) for tag in device.tags],
        "custom_fields": device.custom_fields,
        "created": moment(device.created),
        "last_updated": moment(device.last_updated),
        **dict.fromkeys(COUNTS, 0),
    }


def _device_type(world: World, base: str, device: Device) -> dict[str, Any]:
    makers = sorted({maker for maker, _ in world.netbox.models})
    number = world.netbox.models.index((device.maker, device.model)) + 1
    slug = slugify(device.maker)
    maker = nested(
        base,
        "dcim/manufacturers",
        makers.index(device.maker) + 1,
        device.maker,
        name=device.maker,
        slug=slug,
        description="",
    )
    return nested(
        base,
        "dcim/device-types",
        number,
        device.model,
        manufacturer=maker,
        model=device.model,
        slug=slugify(device.model),
        description="",
        device_count=0,
    )


def _role(base: str) -> dict[str, Any]:
    slug, name = ROLE
    more = {"description": "", "device_count": 0, "virtualmachine_count": 0, "_depth": 0}
    return nested(base, "dcim/device-roles", 1, name, name=name, slug=slug, **more)


def _tenant(world: World, base: str, device: Device) -> dict[str, Any]:
    name = world.netbox.tenants[device.tenant_id].name
    return nested(
        base, "tenancy/tenants", device.tenant_id, name, name=name, slug=slugify(name), description=""
    )


def _place(world: World, base: str, device: Device) -> dict[str, Any]:
    sites = list(world.netbox.sites)
    at = sites.index(device.site)
    name = world.netbox.sites[device.site]
    rack = at * RACKS_PER_SITE + int(device.rack[-2:])
    return {
        "site": nested(base, "dcim/sites", at + 1, name, name=name, slug=device.site.lower(), description=""),
        "location": None,
        "rack": nested(base, "dcim/racks", rack, device.rack, name=device.rack, description=""),
    }


def _tag(world: World, base: str, slug: str) -> dict[str, Any]:
    number = world.netbox.tags.index(slug) + 1
    return {
        "id": number,
        "url": f"{base}/api/extras/tags/{number}/",
        "display_url": f"{base}/extras/tags/{number}/",
        "display": slug,
        "name": slug,
        "slug": slug,
        "color": "9e9e9e",
    }


def tenant_view(world: World, base: str, tenant: Tenant) -> dict[str, Any]:
    """A tenant with its group."""
    more = {"description": "", "tenant_count": 0, "_depth": 0}
    group = nested(
        base,
        "tenancy/tenant-groups",
        tenant.group_id,
        tenant.group,
        name=tenant.group,
        slug=slugify(tenant.group),
        **more,
    )
    devices = sum(1 for device in world.netbox.devices.values() if device.tenant_id == tenant.id)
    return {
        "id": tenant.id,
        "url": f"{base}/api/tenancy/tenants/{tenant.id}/",
        "display_url": f"{base}/tenancy/tenants/{tenant.id}/",
        "display": tenant.name,
        "name": tenant.name,
        "slug": slugify(tenant.name),
        "group": group,
        "description": "",
        "owner": None,
        "comments": "",
        "tags": [],
        "custom_fields": {},
        "created": moment(tenant.created),
        "last_updated": moment(tenant.last_updated),
        **{f"{name}_count": devices if name == "device" else 0 for name in TENANT_COUNTS},
    }


def change_view(base: str, change: Change) -> dict[str, Any]:
    """A line of the change log."""
    gone = change.action == "delete"
    label = ACTIONS[change.action]
    return {
        "id": change.id,
        "url": f"{base}/api/core/object-changes/{change.id}/",
        "display_url": f"{base}/core/changelog/{change.id}/",
        "display": f"DCIM | device {change.name} {label} by lab",
        "time": moment(change.time),
        "user": {"id": 1, "url": f"{base}/api/users/users/1/", "display": "lab", "username": "lab"},
        "user_name": "lab",
        "request_id": stable_id("change", change.id),
        "action": {"value": change.action, "label": label.capitalize()},
        "changed_object_type": "dcim.device",
        "changed_object_id": change.device_id,
        "changed_object": None
        if gone
        else nested(base, "dcim/devices", change.device_id, change.name, name=change.name, description=""),
        "object_repr": change.name,
        "message": "",
        "prechange_data": dict(change.before),
        "postchange_data": dict(change.after),
    }
