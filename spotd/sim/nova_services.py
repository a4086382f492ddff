"""Nova's os-services: list, update and delete compute services."""

from datetime import datetime
from typing import Any

from spotd.sim.errors import BadRequestError, NotFoundError
from spotd.sim.identity import stable_id
from spotd.sim.nova import NovaCall, NovaRow, invalid, unexpected
from spotd.sim.records import Host, iso_fresh, iso_stored
from spotd.sim.wire import Answer, dump

FORCED_DOWN = 11
UUIDS = 53
DOWN_CELLS = 69
STRICT_QUERY = 75
LONGEST_REASON = 255
COMPUTE = "nova-compute"
CONTROL = (("nova-scheduler", 1), ("nova-conductor", 2))
BOOLEANS = {
    **dict.fromkeys((True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"), True),
    **dict.fromkeys((False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"), False),
}


def rows() -> list[NovaRow]:
    """The routes of this resource."""
    return [
        ("GET", r"/os-services", index),
        ("PUT", r"/os-services/(?P<id>[^/]+)", update),
        ("DELETE", r"/os-services/(?P<id>[^/]+)", delete),
    ]


def view(nova: NovaCall, host: Host, updated: str | None) -> dict[str, Any]:
    """A compute service as lists show it."""
    row = {
        "binary": COMPUTE,
        "host": host.name,
        "id": host.service_uuid if nova.minor >= UUIDS else host.service_id,
        "zone": nova.world.aggregates.zones.get(host.name, "nova"),
        "status": host.status,
        "state": "up" if host.is_up else "down",
        "updated_at": updated,
        "disabled_reason": host.disabled_reason,
    }
    if nova.minor >= FORCED_DOWN:
        row["forced_down"] = host.forced_down
    return row


def _control(nova: NovaCall, binary: str, number: int, now: datetime) -> dict[str, Any]:
    row: dict[str, Any] = {
        "binary": binary,
        "host": "control",
        "id": stable_id(nova.world.seed, binary) if nova.minor >= UUIDS else number,
        "zone": "internal",
        "status": "enabled",
        "state": "up",
        "updated_at": iso_stored(now),
        "disabled_reason": None,
    }
    if nova.minor >= FORCED_DOWN:
        row["forced_down"] = False
    return row


def index(nova: NovaCall) -> Answer:
    """Source: GET /os-services with the filters binary and host."""
    nova.need("os-services:list")
    known = ("binary", "host")
    if nova.minor >= STRICT_QUERY and (extra := [key for key, _ in nova.call.query if key not in known]):
        raise BadRequestError(unexpected(extra))
    binary, host = nova.call.one("binary"), nova.call.one("host")
    now, computes = nova.world.now(), nova.world.computes
    out = [
        _control(nova, name, number, now)
        for name, number in CONTROL
        if binary in (None, name) and host in (None, "control")
    ]
    if binary not in (None, COMPUTE):
        return Answer(200, dump({"services": out}))
    for record in computes.hosts.values():
        if host not in (None, record.name):
            continue
        if record.cell not in computes.down_cells:
            out.append(view(nova, record, iso_stored(computes.reported_at(record, now))))
        elif nova.minor >= DOWN_CELLS:
            out.append({"binary": COMPUTE, "host": record.name, "status": "UNKNOWN"})
    return Answer(200, dump({"services": out}))


def update(nova: NovaCall) -> Answer:
    """Source: PUT /os-services/{uuid} from 2.53, PUT /os-services/{action} before."""
    body = nova.body()
    if nova.minor < UUIDS:
        return _update_by_action(nova, body)
    if extra := [key for key in body if key not in ("status", "disabled_reason", "forced_down")]:
        raise BadRequestError(unexpected(extra))
    status, reason, forced = _checked(body)
    nova.need("os-services:update", write=True)
    host = nova.world.computes.service(nova.match["id"])
    if status == "enabled" and reason is not None:
        raise BadRequestError("Specifying 'disabled_reason' with status 'enabled' is invalid.")
    if reason is not None and status is None:
        raise BadRequestError("Missing disabled reason field")
    before = (host.status, host.disabled_reason, host.forced_down)
    if status is not None:
        nova.world.computes.set_status(host, status=status, reason=reason)
    if forced is not None:
        host.forced_down = forced
    if status is None and forced is None:
        raise BadRequestError(
            "No updates were requested. Fields 'status' or 'forced_down' should be specified."
        )
    nova.world.sync_trait(host)
    changed = before != (host.status, host.disabled_reason, host.forced_down)
    now = nova.world.now()
    updated = iso_fresh(now) if changed else iso_stored(now)
    return Answer(200, dump({"service": view(nova, host, updated)}))


def _checked(body: dict[str, Any]) -> tuple[str | None, str | None, bool | None]:
    status, reason, forced = body.get("status"), body.get("disabled_reason"), body.get("forced_down")
    if status not in (None, "enabled", "disabled"):
        raise invalid("status", status, f"{status!r} is not one of ['enabled', 'disabled']")
    if reason is not None:
        if not isinstance(reason, str):
            raise invalid("disabled_reason", reason, f"{reason!r} is not of type 'string'")
        if not reason:
            raise invalid("disabled_reason", reason, "'' should be non-empty")
        if len(reason) > LONGEST_REASON:
            raise invalid("disabled_reason", reason, f"{reason!r} is too long")
    if "forced_down" in body and (not isinstance(forced, str | bool) or forced not in BOOLEANS):
        raise invalid("forced_down", forced, f"{forced!r} is not one of {list(BOOLEANS)}")
    return status, reason, None if forced is None else BOOLEANS[forced]


def _update_by_action(nova: NovaCall, body: dict[str, Any]) -> Answer:
    name = nova.match["id"]
    if name not in ("enable", "disable", "disable-log-reason", "force-down"):
        raise NotFoundError("Unknown action")
    nova.need("os-services:update", write=True)
    for key in ("host", "binary"):
        if key not in body:
            raise BadRequestError(f"{key!r} is a required property")
    host = nova.world.computes.hosts.get(str(body["host"]))
    if host is None or body["binary"] != COMPUTE:
        raise NotFoundError(f"Could not find binary {body['binary']} on host {body['host']}.")
    answer: dict[str, Any] = {"host": host.name, "binary": COMPUTE}
    if name == "force-down":
        host.forced_down = bool(BOOLEANS.get(body.get("forced_down", False)))
        answer["forced_down"] = host.forced_down
    else:
        status = "enabled" if name == "enable" else "disabled"
        reason = body.get("disabled_reason") if name == "disable-log-reason" else None
        nova.world.computes.set_status(host, status=status, reason=reason)
        answer["status"] = status
        if reason is not None:
            answer["disabled_reason"] = reason
    nova.world.sync_trait(host)
    return Answer(200, dump({"service": answer}))


def delete(nova: NovaCall) -> Answer:
    """Source: DELETE /os-services/{id}."""
    nova.need("os-services:delete", write=True)
    service_id = nova.match["id"]
    computes = nova.world.computes
    try:
        host = computes.service(service_id)
    except NotFoundError as error:
        raise NotFoundError(f"Service {service_id} not found.") from error
    computes.remove(host, instances=nova.world.servers.count_on(host.name))
    for aggregate in nova.world.aggregates.of(host.name):
        aggregate.hosts.remove(host.name)
    nova.world.aggregates.zones.pop(host.name, None)
    return Answer(204, "")
