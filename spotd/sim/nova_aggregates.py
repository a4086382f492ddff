"""Nova's os-aggregates: list, show, create, delete and the three actions."""

from datetime import datetime
from typing import Any

from spotd.sim.errors import BadRequestError
from spotd.sim.nova import MALFORMED, NovaCall, NovaRow, invalid, unexpected
from spotd.sim.records import Aggregate, iso_fresh, iso_stored
from spotd.sim.wire import Answer, dump

ID_WITH_UUID = 41


def rows() -> list[NovaRow]:
    """The routes of this resource."""
    return [
        ("GET", r"/os-aggregates", index),
        ("POST", r"/os-aggregates", create),
        ("GET", r"/os-aggregates/(?P<id>[^/]+)", show),
        ("PUT", r"/os-aggregates/(?P<id>[^/]+)", update),
        ("DELETE", r"/os-aggregates/(?P<id>[^/]+)", delete),
        ("POST", r"/os-aggregates/(?P<id>[^/]+)/action", action),
    ]


def view(aggregate: Aggregate, minor: int) -> dict[str, Any]:
    """An aggregate as lists show it."""
    return _view(aggregate, minor, iso_stored(aggregate.updated_at), iso_stored(aggregate.created_at))


def _view(aggregate: Aggregate, minor: int, updated: str | None, created: str | None) -> dict[str, Any]:
    head: dict[str, Any] = {"id": aggregate.id}
    if minor >= ID_WITH_UUID:
        head["uuid"] = aggregate.uuid
    return {
        **head,
        "name": aggregate.name,
        "hosts": list(aggregate.hosts),
        "metadata": dict(aggregate.metadata),
        "created_at": created,
        "updated_at": updated,
        "deleted_at": None,
        "deleted": False,
        "availability_zone": aggregate.availability_zone,
    }


def _number(nova: NovaCall) -> int:
    text = nova.match["id"]
    if not text.isdigit():
        raise BadRequestError("Invalid input received: id must be an integer")
    return int(text)


def index(nova: NovaCall) -> Answer:
    """Source: GET /os-aggregates."""
    nova.need("os-aggregates:index")
    aggregates = nova.world.aggregates.by_id.values()
    return Answer(200, dump({"aggregates": [view(one, nova.minor) for one in aggregates]}))


def show(nova: NovaCall) -> Answer:
    """Source: GET /os-aggregates/{id}."""
    nova.need("os-aggregates:show")
    return Answer(200, dump({"aggregate": view(nova.world.aggregates.get(_number(nova)), nova.minor)}))


def create(nova: NovaCall) -> Answer:
    """Source: POST /os-aggregates; the answer has neither hosts nor metadata."""
    wanted = nova.body()
    if "aggregate" not in wanted:
        raise BadRequestError("'aggregate' is a required property")
    body = wanted["aggregate"]
    if not isinstance(body, dict) or "name" not in body:
        raise invalid("aggregate", body, "'name' is a required property")
    name, zone = body["name"], body.get("availability_zone")
    if not name:
        raise invalid("name", name, f"{name!r} should be non-empty")
    nova.need("os-aggregates:create", write=True)
    aggregate = nova.world.aggregates.create(str(name), zone, nova.world.now())
    fresh = _view(aggregate, nova.minor, None, iso_fresh(aggregate.created_at))
    del fresh["hosts"], fresh["metadata"]
    return Answer(200, dump({"aggregate": fresh}))


def update(nova: NovaCall) -> Answer:
    """Source: PUT /os-aggregates/{id}: a new name or availability zone."""
    nova.need("os-aggregates:update", write=True)
    aggregate = nova.world.aggregates.get(_number(nova))
    body = nova.body().get("aggregate")
    if not isinstance(body, dict):
        raise BadRequestError("'aggregate' is a required property")
    now = nova.world.now()
    if "availability_zone" in body:
        nova.world.aggregates.set_metadata(
            aggregate.id, {"availability_zone": body["availability_zone"]}, now
        )
    aggregate.name = str(body.get("name", aggregate.name))
    aggregate.updated_at = now
    return Answer(200, dump({"aggregate": _after(aggregate, nova.minor, now)}))


def delete(nova: NovaCall) -> Answer:
    """Source: DELETE /os-aggregates/{id}."""
    nova.need("os-aggregates:delete", write=True)
    nova.world.aggregates.delete(_number(nova))
    return Answer(200, "")


def action(nova: NovaCall) -> Answer:
    """Source: POST /os-aggregates/{id}/action."""
    body = nova.body()
    if len(body) != 1:
        raise BadRequestError(MALFORMED)
    name, arguments = next(iter(body.items()))
    if name not in ("add_host", "remove_host", "set_metadata"):
        raise BadRequestError(f"There is no such action: {name}")
    if not isinstance(arguments, dict):
        raise invalid(name, arguments, f"{arguments!r} is not of type 'object'")
    world, now = nova.world, nova.world.now()
    if name == "set_metadata":
        metadata = _metadata(arguments)
        nova.need("os-aggregates:set_metadata", write=True)
        changed = world.aggregates.set_metadata(_number(nova), metadata, now)
        return Answer(200, dump({"aggregate": _after(changed, nova.minor, now)}))
    host = _host(name, arguments)
    nova.need(f"os-aggregates:{name}", write=True)
    act = world.aggregates.add_host if name == "add_host" else world.aggregates.remove_host
    return Answer(200, dump({"aggregate": view(act(_number(nova), host, now), nova.minor)}))


def _after(aggregate: Aggregate, minor: int, now: datetime) -> dict[str, Any]:
    return _view(aggregate, minor, iso_fresh(now), iso_stored(aggregate.created_at))


def _host(name: str, arguments: dict[str, Any]) -> str:
    if "host" not in arguments:
        raise invalid(name, arguments, "'host' is a required property")
    if extra := [key for key in arguments if key != "host"]:
        raise invalid(name, arguments, unexpected(extra))
    host = arguments["host"]
    if not isinstance(host, str):
        raise invalid("host", host, f"{host!r} is not of type 'string'")
    if not host:
        raise invalid("host", host, "'' should be non-empty")
    return host


def _metadata(arguments: dict[str, Any]) -> dict[str, str | None]:
    metadata = arguments.get("metadata")
    if not isinstance(metadata, dict):
        raise invalid("set_metadata", arguments, "'metadata' is a required property")
    return metadata
