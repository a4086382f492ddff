"""Nova's flavors, availability zones and hypervisors: what readers of hosts also ask for."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from spotd.sim.errors import BadRequestError, FailedError, NotFoundError
from spotd.sim.nova import NovaCall, NovaRow
from spotd.sim.records import Flavor, Host, iso_stored
from spotd.sim.server_views import links
from spotd.sim.wire import Answer, dump

CELL_FAILED = (
    "Unexpected API Error. Please contact the administrator\n<class 'sqlalchemy.exc.ProgrammingError'>"
)
UUIDS = 53
PAGED = 33
WITHOUT_RESOURCES = 88
UPTIME = " 00:00:00 up 1 day,  0:00,  0 users,  load average: 0.00, 0.00, 0.00"
CPU = {
    "arch": "x86_64",
    "model": "Nehalem",
    "vendor": "Intel",
    "features": ["pge", "clflush"],
    "topology": {"cores": 1, "threads": 1, "sockets": 4},
}


def rows() -> list[NovaRow]:
    """The routes of these resources."""
    return [
        ("GET", r"/flavors", lambda nova: flavors(nova, detailed=False)),
        ("GET", r"/flavors/detail", lambda nova: flavors(nova, detailed=True)),
        ("GET", r"/flavors/(?P<id>[^/]+)", flavor),
        ("GET", r"/flavors/(?P<id>[^/]+)/os-extra_specs", extra_specs),
        ("GET", r"/os-availability-zone", lambda nova: zones(nova, detailed=False)),
        ("GET", r"/os-availability-zone/detail", lambda nova: zones(nova, detailed=True)),
        ("GET", r"/os-hypervisors", lambda nova: hypervisors(nova, detailed=False)),
        ("GET", r"/os-hypervisors/detail", lambda nova: hypervisors(nova, detailed=True)),
        ("GET", r"/os-hypervisors/(?P<id>[^/]+)", hypervisor),
    ]


def _flavor(nova: NovaCall, one: Flavor, *, detailed: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"id": one.id, "name": one.name}
    if detailed:
        row |= {
            "ram": one.ram,
            "disk": one.disk,
            "swap": 0 if nova.minor >= 75 else "",  # noqa: PLR2004 - a number since
            "OS-FLV-EXT-DATA:ephemeral": 0,
            "OS-FLV-DISABLED:disabled": False,
            "vcpus": one.vcpus,
            "os-flavor-access:is_public": True,
            "rxtx_factor": 1.0,
        }
    row["links"] = links(nova, "flavors", one.id)
    if nova.minor >= 55:  # noqa: PLR2004 - described since
        row["description"] = one.description
    if detailed and nova.minor >= 102:  # noqa: PLR2004 - two keys fewer since
        del row["OS-FLV-DISABLED:disabled"], row["rxtx_factor"]
    if detailed and nova.minor >= 61:  # noqa: PLR2004 - with extra specs since
        row["extra_specs"] = one.extra_specs
    return row


def flavors(nova: NovaCall, *, detailed: bool) -> Answer:
    """Source: GET /flavors and /flavors/detail."""
    known = sorted(nova.world.servers.flavors.values(), key=lambda one: one.id)
    return _page(
        nova, "flavors", known, lambda one: one.id, lambda one: _flavor(nova, one, detailed=detailed)
    )


def flavor(nova: NovaCall) -> Answer:
    """Source: GET /flavors/{id}."""
    return Answer(200, dump({"flavor": _flavor(nova, _known_flavor(nova), detailed=True)}))


def extra_specs(nova: NovaCall) -> Answer:
    """Source: GET /flavors/{id}/os-extra_specs."""
    return Answer(200, dump({"extra_specs": _known_flavor(nova).extra_specs}))


def _known_flavor(nova: NovaCall) -> Flavor:
    one = nova.world.servers.flavors.get(nova.match["id"])
    if one is None:
        raise NotFoundError(f"Flavor {nova.match['id']} could not be found.")
    return one


def _page(
    nova: NovaCall,
    name: str,
    items: Sequence[Any],
    identity: Callable[[Any], str],
    show: Callable[[Any], dict[str, Any]],
) -> Answer:
    text, marker = nova.call.one("limit"), nova.call.one("marker")
    limit = min(int(text), nova.world.max_limit) if text and text.isdigit() else nova.world.max_limit
    if marker is not None:
        at = next((i for i, item in enumerate(items) if identity(item) == marker), None)
        if at is None:
            raise BadRequestError(f"marker [{marker}] not found")
        items = items[at + 1 :]
    shown = items[:limit]
    body: dict[str, Any] = {name: [show(item) for item in shown]}
    if shown and len(shown) == limit:
        pairs = [(key, value) for key, value in nova.call.query if key != "marker"]
        query = urlencode([*pairs, ("marker", identity(shown[-1]))])
        body[f"{name}_links"] = [{"rel": "next", "href": f"{nova.call.base}{nova.call.path}?{query}"}]
    return Answer(200, dump(body))


def zones(nova: NovaCall, *, detailed: bool) -> Answer:
    """Source: GET /os-availability-zone and its detail."""
    if detailed:
        nova.need("os-availability-zone:detail")
    world = nova.world
    hosts: dict[str, dict[str, Any]] = {}
    now = world.now()
    for host in world.computes.reachable():
        if host.status != "enabled":
            continue
        zone = world.aggregates.zones.get(host.name, "nova")
        seen = iso_stored(world.computes.reported_at(host, now))
        service = {"available": host.is_up, "active": True, "updated_at": seen}
        hosts.setdefault(zone, {})[host.name] = {"nova-compute": service}
    control = {
        name: {"available": True, "active": True, "updated_at": iso_stored(now)}
        for name in ("nova-scheduler", "nova-conductor")
    }
    if detailed:
        hosts = {"internal": {"control": control}, **hosts}
    rows = [
        {"zoneName": zone, "zoneState": {"available": True}, "hosts": members if detailed else None}
        for zone, members in hosts.items()
    ]
    return Answer(200, dump({"availabilityZoneInfo": rows}))


def _hypervisor(nova: NovaCall, host: Host, *, detailed: bool) -> dict[str, Any]:
    new = nova.minor >= UUIDS
    row: dict[str, Any] = {
        "id": host.provider_uuid if new else host.hypervisor_id,
        "hypervisor_hostname": host.hypervisor_hostname,
        "state": "up" if host.is_up else "down",
        "status": host.status,
    }
    if not detailed:
        return row
    row |= {
        "hypervisor_type": "fake",
        "hypervisor_version": 1000,
        "host_ip": "127.0.0.1",
        "service": {
            "id": host.service_uuid if new else host.service_id,
            "host": host.name,
            "disabled_reason": host.disabled_reason,
        },
    }
    if nova.minor >= WITHOUT_RESOURCES:
        row["uptime"] = UPTIME if host.is_up else None
    else:
        row |= _resources(nova, host)
    return row | _guests(nova, host)


def _guests(nova: NovaCall, host: Host) -> dict[str, Any]:
    """The key `servers`, where it was asked for; below 2.75 only hosts that have some carry it."""
    if nova.minor < UUIDS or (nova.call.one("with_servers") or "").lower() not in ("true", "1"):
        return {}
    servers = nova.world.servers_on(host.name)
    rows = [{"name": f"instance-{one.number:08x}", "uuid": one.id} for one in servers]
    return {"servers": rows} if rows or nova.minor >= 75 else {}  # noqa: PLR2004 - always there since


def _resources(nova: NovaCall, host: Host) -> dict[str, Any]:
    provider = nova.world.ledger.providers[host.provider_uuid]
    ram = provider.used.get("MEMORY_MB", 0) + provider.inventories["MEMORY_MB"].reserved
    total = provider.inventories
    disk = provider.used.get("DISK_GB", 0)
    return {
        "vcpus": total["VCPU"].total,
        "memory_mb": total["MEMORY_MB"].total,
        "local_gb": total["DISK_GB"].total,
        "vcpus_used": provider.used.get("VCPU", 0),
        "memory_mb_used": ram,
        "local_gb_used": disk,
        "free_ram_mb": total["MEMORY_MB"].total - ram,
        "free_disk_gb": total["DISK_GB"].total - disk,
        "current_workload": 0,
        "running_vms": nova.world.servers.count_on(host.name),
        "disk_available_least": 0,
        "cpu_info": CPU if nova.minor >= 28 else dump(CPU),  # noqa: PLR2004 - an object since
    }


def hypervisors(nova: NovaCall, *, detailed: bool) -> Answer:
    """Source: GET /os-hypervisors and its detail."""
    nova.need("os-hypervisors:list-detail" if detailed else "os-hypervisors:list")
    computes = nova.world.computes
    if "error" in computes.down_cells.values():
        raise FailedError(CELL_FAILED)
    pattern = nova.call.one("hypervisor_hostname_pattern")
    found = [h for h in computes.reachable() if pattern is None or pattern in h.hypervisor_hostname]
    if pattern is not None and not found:
        raise NotFoundError(f"No hypervisor matching {pattern!r} could be found.")
    if nova.minor < PAGED:
        return Answer(200, dump({"hypervisors": [_hypervisor(nova, h, detailed=detailed) for h in found]}))

    def identity(host: Host) -> str:
        return host.provider_uuid if nova.minor >= UUIDS else str(host.hypervisor_id)

    return _page(nova, "hypervisors", found, identity, lambda h: _hypervisor(nova, h, detailed=detailed))


def hypervisor(nova: NovaCall) -> Answer:
    """Source: GET /os-hypervisors/{id}."""
    nova.need("os-hypervisors:show")
    wanted = nova.match["id"]
    for host in nova.world.computes.reachable():
        if wanted in (host.provider_uuid, str(host.hypervisor_id)):
            return Answer(200, dump({"hypervisor": _hypervisor(nova, host, detailed=True)}))
    raise NotFoundError(f"Compute host {wanted} could not be found.")
