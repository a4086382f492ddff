"""A server's JSON as Nova shows it at each microversion, kept as text until the server changes."""

from typing import Any

from spotd.sim.nova import NovaCall
from spotd.sim.records import Server, iso_seconds, iso_stored
from spotd.sim.wire import dump

STEPS = (3, 9, 16, 19, 26, 47, 63, 71, 73, 96, 98, 100)
"""Microversions at which a server's keys change."""
PROGRESS = ("ACTIVE", "BUILD")


def brief(nova: NovaCall, server: Server) -> str:
    """A server as GET /servers has it."""
    key = ("brief", nova.call.base)
    text = server.fragments.get(key)
    if text is None:
        text = dump({"id": server.id, "name": server.name, "links": links(nova, "servers", server.id)})
        server.fragments[key] = text
    return text


def detail(nova: NovaCall, server: Server, *, alone: bool) -> str:
    """A server as GET /servers/detail has it, or GET /servers/{id} when `alone`."""
    host = nova.world.computes.hosts.get(server.host or "")
    status = host.host_status if host is not None and not server.is_deleted else ""
    zone = "" if server.host is None else nova.world.aggregates.zones.get(server.host, "nova")
    step = sum(1 for one in STEPS if one <= nova.minor)
    key = (step, alone, nova.is_admin, status, zone, nova.call.base)
    text = server.fragments.get(key)
    if text is None:
        text = dump(_detail(nova, server, alone=alone, host_status=status, zone=zone))
        server.fragments[key] = text
    return text


def unknown(nova: NovaCall, server: Server, *, detailed: bool) -> str:
    """What is left of a server in an unreachable cell, from 2.69."""
    row: dict[str, Any] = {"id": server.id, "status": "UNKNOWN"}
    if detailed:
        row |= {"tenant_id": server.project_id, "created": iso_seconds(server.created)}
    return dump({**row, "links": links(nova, "servers", server.id)})


def links(nova: NovaCall, kind: str, identity: str) -> list[dict[str, str]]:
    """The two links of an object."""
    return [
        {"rel": "self", "href": f"{nova.base}/{kind}/{identity}"},
        {"rel": "bookmark", "href": f"{nova.call.base}/{kind}/{identity}"},
    ]


def _detail(nova: NovaCall, server: Server, *, alone: bool, host_status: str, zone: str) -> dict[str, Any]:
    minor, admin = nova.minor, nova.is_admin
    row = _head(nova, server)
    if server.fault is not None:
        row["fault"] = server.fault
    if server.status in PROGRESS:
        row["progress"] = 0
    row |= {
        "OS-EXT-AZ:availability_zone": zone,
        "config_drive": "",
        "key_name": None,
        "OS-SRV-USG:launched_at": iso_stored(server.launched),
        "OS-SRV-USG:terminated_at": iso_stored(server.terminated),
    }
    if admin:
        row |= _admin_facts(nova, server)
    row |= {
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
    }
    tail: list[tuple[int, str, Any]] = [
        (9, "locked", False),
        (16 if alone and admin else 999, "host_status", host_status),
        (19, "description", None),
        (26, "tags", []),
        (63, "trusted_image_certificates", None),
        (71 if alone else 999, "server_groups", []),
        (73, "locked_reason", None),
        (96, "pinned_availability_zone", server.pinned_az),
        (100, "scheduler_hints", {}),
        (999 if alone or not admin else 16, "host_status", host_status),
    ]
    row |= {name: value for since, name, value in tail if minor >= since}
    return row


def _head(nova: NovaCall, server: Server) -> dict[str, Any]:
    image_id = nova.world.image_id
    bookmark = {"rel": "bookmark", "href": f"{nova.call.base}/images/{image_id}"}
    image: dict[str, Any] = {"id": image_id, "links": [bookmark]}
    if nova.minor >= 98:  # noqa: PLR2004 - images carry properties since
        image["properties"] = {}
    return {
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": {},
        "created": iso_seconds(server.created),
        "flavor": _flavor(nova, server),
        "hostId": server.host_id,
        "id": server.id,
        "image": image,
        "links": links(nova, "servers", server.id),
        "metadata": server.metadata,
        "name": server.name,
        "status": server.status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "updated": iso_seconds(server.updated),
        "OS-DCF:diskConfig": "MANUAL",
    }


def _flavor(nova: NovaCall, server: Server) -> dict[str, Any]:
    flavor = server.flavor
    if nova.minor < 47:  # noqa: PLR2004 - the flavor is embedded since
        bookmark = {"rel": "bookmark", "href": f"{nova.call.base}/flavors/{flavor.id}"}
        return {"id": flavor.id, "links": [bookmark]}
    return {
        "vcpus": flavor.vcpus,
        "ram": flavor.ram,
        "disk": flavor.disk,
        "ephemeral": 0,
        "swap": 0,
        "original_name": flavor.name,
        "extra_specs": flavor.extra_specs,
    }


def _admin_facts(nova: NovaCall, server: Server) -> dict[str, Any]:
    host = nova.world.computes.hosts.get(server.host or "")
    prefix = "OS-EXT-SRV-ATTR:"
    facts: dict[str, Any] = {
        f"{prefix}host": server.host,
        f"{prefix}instance_name": f"instance-{server.number:08x}",
        f"{prefix}hypervisor_hostname": server.node
        or (host.hypervisor_hostname if host is not None else server.host),
    }
    if nova.minor >= 3:  # noqa: PLR2004 - the other seven came with 2.3
        facts |= {
            f"{prefix}hostname": "".join(c if c.isalnum() else "-" for c in server.name.lower()),
            f"{prefix}kernel_id": "",
            f"{prefix}launch_index": 0,
            f"{prefix}ramdisk_id": "",
            f"{prefix}reservation_id": f"r-{server.id[:8]}",
            f"{prefix}root_device_name": None if server.host is None else "/dev/sda",
            f"{prefix}user_data": None,
        }
    return facts
