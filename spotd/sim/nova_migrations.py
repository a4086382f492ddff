"""Nova's os-migrations, and the actions that begin and confirm one."""

from typing import Any
from urllib.parse import urlencode

from spotd.sim.errors import BadRequestError
from spotd.sim.nova import MALFORMED, NovaCall, NovaRow, unexpected
from spotd.sim.records import Host, Migration, Server, iso_stored
from spotd.sim.wire import Answer, dump

WITH_TYPE = 23
WITH_UUID = 59
"""The list is paged since, too."""
WITH_PROJECT = 80
FILTERS = {"hidden", "host", "instance_uuid", "source_compute", "status", "migration_type"}
PAGING = {"limit", "marker", "changes-since"}


def rows() -> list[NovaRow]:
    """The routes of this resource."""
    return [
        ("GET", r"/os-migrations", index),
        ("POST", r"/servers/(?P<id>[^/]+)/action", act),
    ]


def index(nova: NovaCall) -> Answer:
    """Source: GET /os-migrations with its filters; rows of a cell that is down are missing without a word."""
    nova.need("os-migrations:index")
    known = FILTERS | (PAGING if nova.minor >= WITH_UUID else set())
    if nova.minor >= WITH_UUID and (extra := [key for key, _ in nova.call.query if key not in known]):
        raise BadRequestError(unexpected(extra))
    found = [one for one in reversed(nova.world.servers.migrations) if _wanted(nova, one)]
    if nova.minor < WITH_UUID:
        return Answer(200, dump({"migrations": [_view(nova, one) for one in found]}))
    limit, marker = _paging(nova)
    if marker is not None:
        at = next((number for number, one in enumerate(found) if one.uuid == marker), None)
        if at is None:
            raise BadRequestError(f"Marker {marker} could not be found.")
        found = found[at + 1 :]
    page = found[:limit]
    body: dict[str, Any] = {"migrations": [_view(nova, one) for one in page]}
    if page and len(page) == limit:
        pairs = [(key, value) for key, value in nova.call.query if key != "marker"]
        query = urlencode([*pairs, ("marker", page[-1].uuid)])
        link = {"rel": "next", "href": f"{nova.call.base}{nova.call.path}?{query}"}
        body["migrations_links"] = [link]
    return Answer(200, dump(body))


def _wanted(nova: NovaCall, one: Migration) -> bool:
    call, computes = nova.call, nova.world.computes
    source = computes.hosts.get(one.source)
    if source is not None and source.cell in computes.down_cells:
        return False
    return (
        call.one("host") in (None, one.source, one.dest)
        and call.one("source_compute") in (None, one.source)
        and call.one("status") in (None, one.status)
        and call.one("migration_type") in (None, one.migration_type)
        and call.one("instance_uuid") in (None, one.instance_uuid)
    )


def _paging(nova: NovaCall) -> tuple[int, str | None]:
    text = nova.call.one("limit")
    most = nova.world.max_limit
    return (min(int(text), most) if text and text.isdigit() else most), nova.call.one("marker")


def _node(nova: NovaCall, name: str | None) -> str | None:
    host: Host | None = nova.world.computes.hosts.get(name or "")
    return name if host is None else host.hypervisor_hostname


def _view(nova: NovaCall, one: Migration) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": one.id,
        "uuid": one.uuid,
        "source_compute": one.source,
        "dest_compute": one.dest,
        "source_node": _node(nova, one.source),
        "dest_node": _node(nova, one.dest),
        "dest_host": None if one.dest is None else "127.0.0.1",
        "old_instance_type_id": 1,
        "new_instance_type_id": 1,
        "instance_uuid": one.instance_uuid,
        "status": one.status,
        "migration_type": one.migration_type,
        "user_id": one.user_id,
        "project_id": one.project_id,
        "created_at": iso_stored(one.created_at),
        "updated_at": iso_stored(one.updated_at),
    }
    absent = set()
    if nova.minor < WITH_TYPE:
        absent.add("migration_type")
    if nova.minor < WITH_UUID:
        absent.add("uuid")
    if nova.minor < WITH_PROJECT:
        absent |= {"user_id", "project_id"}
    return {key: value for key, value in row.items() if key not in absent}


def act(nova: NovaCall) -> Answer:
    """Source: POST /servers/{id}/action: `migrate` and `confirmResize`, of all that Nova knows."""
    body = nova.body()
    if len(body) != 1:
        raise BadRequestError(MALFORMED)
    name = next(iter(body))
    world, server = nova.world, nova.world.servers.get(nova.match["id"])
    if name == "migrate":
        nova.need("os-migrate-server:migrate", write=True)
        world.resize(server.id, _elsewhere(nova, server), slowly=True)
        return Answer(202, "")
    if name == "confirmResize":
        world.confirm_resize(server.id)
        return Answer(204, "", content_type=None)
    raise BadRequestError(f"There is no such action: {name}")


def _elsewhere(nova: NovaCall, server: Server) -> str:
    ledger, wanted = nova.world.ledger, server.flavor.resources()
    for host in nova.world.computes.hosts.values():
        if host.name == server.host or host.status != "enabled" or not host.is_up:
            continue
        if ledger.plan(host.provider_uuid, wanted) is not None:
            return host.name
    raise BadRequestError("No valid host was found. ")
