"""Nova's servers: lists with paging and filters, show, boot and delete."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from spotd.sim import server_views as views
from spotd.sim.errors import BadRequestError, FailedError, ForbiddenError, NotFoundError
from spotd.sim.nova import NovaCall, NovaRow, invalid
from spotd.sim.records import Server
from spotd.sim.servers import BootRequest
from spotd.sim.wire import Answer, dump

CHANGES_BEFORE = 66
UNKNOWN_RECORDS = 69
STRICT_QUERY = 75
BOOT_HOST = 74
_STATUS_WORDS = (
    "ACTIVE BUILD REBUILD STOPPED SHUTOFF MIGRATING RESIZE PAUSED SUSPENDED RESCUE ERROR DELETED "
    "SOFT_DELETED SHELVED SHELVED_OFFLOADED UNKNOWN VERIFY_RESIZE REVERT_RESIZE REBOOT HARD_REBOOT "
    "PASSWORD"
)
STATUSES = _STATUS_WORDS.split()
_FILTER_WORDS = (
    "all_tenants limit marker sort_key sort_dir changes-since changes-before host status deleted name "
    "uuid project_id tenant_id user_id flavor image node reservation_id availability_zone vm_state "
    "task_state power_state locked tags not-tags tags-any not-tags-any ip ip6 access_ip_v4 access_ip_v6 "
    "created_at description display_description display_name hostname instance_type_id key_name "
    "launch_index launched_at terminated_at progress root_device_name kernel_id ramdisk_id config_drive "
    "auto_disk_config is_public architecture block_device_mapping image_ref soft_deleted"
)
FILTERS = frozenset(_FILTER_WORDS.split())
CELL_FAILED = "Unexpected API Error. Please contact the administrator\n<class 'TypeError'>"
TRUE = ("1", "true", "True", "TRUE", "yes", "on", "t", "y")


def rows() -> list[NovaRow]:
    """The routes of this resource."""
    return [
        ("GET", r"/servers/detail", lambda nova: index(nova, detailed=True)),
        ("GET", r"/servers", lambda nova: index(nova, detailed=False)),
        ("POST", r"/servers", boot),
        ("GET", r"/servers/(?P<id>[^/]+)", show),
        ("DELETE", r"/servers/(?P<id>[^/]+)", delete),
    ]


@dataclass(slots=True)
class Question:
    """What a list asks for, after the caller's rights have been looked at."""

    project: str | None
    since: datetime | None
    before: datetime | None
    deleted: bool
    host: str | None
    statuses: list[str]
    name: re.Pattern[str] | None
    uuid: str | None

    def wants(self, server: Server) -> bool:
        """Whether a server belongs into the answer."""
        if self.since is None and server.is_deleted != self.deleted:
            return False
        if self.since is not None and server.updated.replace(microsecond=0) < self.since:
            return False
        return (
            (self.before is None or server.updated <= self.before)
            and (self.project is None or server.project_id == self.project)
            and (self.host is None or server.host == self.host)
            and (not self.statuses or server.status in self.statuses)
            and (self.uuid is None or server.id == self.uuid)
            and (self.name is None or self.name.search(server.name) is not None)
        )


def index(nova: NovaCall, *, detailed: bool) -> Answer:
    """Source: GET /servers and GET /servers/detail."""
    question = _question(nova, "detail" if detailed else "index")
    limit = _limit(nova)
    down = nova.world.computes.down_cells
    if "error" in down.values():
        raise FailedError(CELL_FAILED)
    plain = all(key == "all_tenants" for key, _ in nova.call.query)
    shows_unknown = plain and nova.minor >= UNKNOWN_RECORDS
    texts: list[str] = []
    last = ""
    for server in _walk(nova, question):
        if len(texts) >= limit:
            break
        if server.cell in down:
            if not shows_unknown:
                continue
            texts.append(views.unknown(nova, server, detailed=detailed))
        elif detailed:
            texts.append(views.detail(nova, server, alone=False))
        else:
            texts.append(views.brief(nova, server))
        last = server.id
    body = f'{{"servers": [{", ".join(texts)}]'
    if texts and len(texts) == limit:
        body += f', "servers_links": {dump([{"rel": "next", "href": _next(nova, last)}])}'
    return Answer(200, body + "}")


def _walk(nova: NovaCall, question: Question) -> Iterator[Server]:
    servers = nova.world.servers
    if question.host is not None and question.since is None and not question.deleted:
        found = [servers.by_id[one] for one in servers.on_host.get(question.host, ())]
        found.sort(key=lambda server: server.order, reverse=True)
        rows: Iterator[Server] = iter(found)
    else:
        rows = servers.newest_first()
    sort_key = nova.call.one("sort_key")
    if sort_key is not None:
        rows = iter(_sorted(list(rows), sort_key, nova.call.one("sort_dir") or "desc"))
    marker = nova.call.one("marker")
    if marker is not None:
        known = servers.by_id.get(marker)
        if known is None:
            raise BadRequestError(f"marker [{marker}] not found")
        if known.cell in nova.world.computes.down_cells:
            raise FailedError(CELL_FAILED)
        for server in rows:
            if server.id == marker:
                break
    return (server for server in rows if question.wants(server))


def _sorted(servers: list[Server], key: str, direction: str) -> list[Server]:
    def value(server: Server) -> tuple[str, str]:
        known = {"created_at": server.order[0], "uuid": server.id, "display_name": server.name}
        known["updated_at"] = server.updated.isoformat()
        return (known.get(key, str(getattr(server, key, ""))), server.id)

    return sorted(servers, key=value, reverse=direction == "desc")


def _question(nova: NovaCall, policy: str) -> Question:
    call = nova.call
    for key, _ in call.query:
        if nova.minor >= STRICT_QUERY and key not in FILTERS and not key.startswith("_"):
            raise BadRequestError(f"{key!r} does not match any of the regexes: '^_'")
    since = _time(nova, "changes-since")
    before = _time(nova, "changes-before") if nova.minor >= CHANGES_BEFORE else None
    statuses = [status.upper() for status in call.many("status")]
    if any(status not in STATUSES for status in statuses):
        raise BadRequestError("Invalid status value")
    everyone = call.one("all_tenants") in TRUE or call.one("all_tenants") == ""
    admin = nova.is_admin
    if everyone and not admin:
        text = f"Policy doesn't allow os_compute_api:servers:{policy}:get_all_tenants to be performed."
        raise ForbiddenError(text)
    project = None if everyone else nova.token.project.id
    if everyone and admin:
        project = call.one("project_id") or call.one("tenant_id")
    name = call.one("name")
    return Question(
        project=project,
        since=since,
        before=before,
        deleted=admin and call.one("deleted") in TRUE,
        host=call.one("host") if admin and nova.world.identity.may_filter else None,
        statuses=statuses,
        name=re.compile(name) if name else None,
        uuid=call.one("uuid"),
    )


def _time(nova: NovaCall, name: str) -> datetime | None:
    text = nova.call.one(name)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        why = f"Value: {text}. {text!r} is not a 'date-time'"
        raise BadRequestError(f"Invalid input for query parameters {name}. {why}") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _limit(nova: NovaCall) -> int:
    text = nova.call.one("limit")
    most = nova.world.max_limit
    if not text:
        return most
    if not text.isdigit():
        why = f"Value: {text}. {text!r} does not match '^[0-9]*$'"
        raise BadRequestError(f"Invalid input for query parameters limit. {why}")
    return min(int(text), most)


def _next(nova: NovaCall, marker: str) -> str:
    pairs = [(key, value) for key, value in nova.call.query if key != "marker"]
    return f"{nova.call.base}{nova.call.path}?{urlencode([*pairs, ('marker', marker)])}"


def _mine(nova: NovaCall) -> Server:
    server = nova.world.servers.get(nova.match["id"])
    if not nova.is_admin and server.project_id != nova.token.project.id:
        raise NotFoundError(f"Instance {server.id} could not be found.")
    if server.cell in nova.world.computes.down_cells:
        raise FailedError(CELL_FAILED)
    return server


def show(nova: NovaCall) -> Answer:
    """Source: GET /servers/{id}."""
    return Answer(200, f'{{"server": {views.detail(nova, _mine(nova), alone=True)}}}')


def delete(nova: NovaCall) -> Answer:
    """Source: DELETE /servers/{id}."""
    server = _mine(nova)
    if server.task_state != "deleting":
        nova.world.delete_server(server.id, slowly=True)
    return Answer(204, "")


def boot(nova: NovaCall) -> Answer:
    """Source: POST /servers; a pinned host that is full or disabled is a 202 and an ERROR later."""
    wanted = nova.body().get("server")
    if not isinstance(wanted, dict):
        raise BadRequestError("'server' is a required property")
    for key in ("name", "flavorRef", "networks"):
        if key not in wanted and (key != "networks" or nova.minor >= 37):  # noqa: PLR2004 - required since
            raise invalid("server", wanted, f"{key!r} is a required property")
    host, pinned = _destination(nova, wanted)
    try:
        flavor = nova.world.servers.flavor(str(wanted["flavorRef"]).rsplit("/", 1)[-1])
    except NotFoundError as error:
        raise BadRequestError(error.message) from error
    server = nova.world.begin_boot(
        BootRequest(
            name=str(wanted["name"]),
            flavor=flavor,
            project_id=nova.token.project.id,
            user_id=nova.token.user.id,
            host=host,
            pinned_az=pinned,
            metadata=wanted.get("metadata"),
        )
    )
    body = {
        "id": server.id,
        "links": views.links(nova, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": "default"}],
        "adminPass": secrets.token_urlsafe(9),
    }
    headers = {"location": f"{nova.base}/servers/{server.id}"}
    return Answer(202, dump({"server": body}), headers)


def _destination(nova: NovaCall, wanted: dict[str, Any]) -> tuple[str | None, str | None]:
    host = wanted.get("host") if nova.minor >= BOOT_HOST else None
    hosts = nova.world.computes.hosts
    if host is not None:
        nova.need("servers:create:forced_host", write=True)
        if host not in hosts:
            raise BadRequestError(f"Compute host {host} could not be found.")
        return str(host), None
    zone = wanted.get("availability_zone")
    if zone is None:
        return None, None
    name, _, forced = str(zone).partition(":")
    zones = {"nova", *nova.world.aggregates.zones.values()}
    if name not in zones:
        raise BadRequestError("The requested availability zone is not available")
    if forced and forced not in hosts:
        raise BadRequestError(f"Compute host {forced} could not be found.")
    return forced or None, name
