"""Placement's providers and their parts."""

import json
from typing import Any

from spotd.sim.errors import BadRequestError, NotFoundError
from spotd.sim.ledger import Provider
from spotd.sim.placement import PlacementCall, Row, fresh, known_classes, known_traits, parse_resources
from spotd.sim.placement_filters import UUID, member_tests, refuse_unknown, trait_tests
from spotd.sim.wire import Answer, dump

PARTS = (("inventories", 0), ("usages", 0), ("aggregates", 1), ("traits", 6), ("allocations", 11))
TREES = 14
PROVIDER = r"/resource_providers/(?P<uuid>[^/]+)"
FILTERS = {"name": 0, "uuid": 0, "member_of": 3, "resources": 4, "in_tree": 14, "required": 18}
UNKNOWN_FILTER = "Additional properties are not allowed ('{name}' was unexpected)"


def rows() -> list[Row]:
    """The routes of these resources."""
    return [
        Row("GET", r"/resource_providers", index),
        Row("GET", PROVIDER, show),
        Row("GET", PROVIDER + "/inventories", inventories),
        Row("GET", PROVIDER + "/usages", usages),
        Row("GET", PROVIDER + "/aggregates", aggregates, 1),
        Row("PUT", PROVIDER + "/aggregates", put_aggregates, 1),
        Row("GET", PROVIDER + "/traits", traits, 6),
        Row("GET", PROVIDER + "/allocations", allocations),
        Row("GET", r"/usages", project_usages, 9),
        Row("GET", r"/traits", all_traits, 6),
        Row("GET", r"/resource_classes", classes, 2),
        Row("GET", r"/allocations/(?P<uuid>[^/]+)", consumer),
        Row("DELETE", r"/allocations/(?P<uuid>[^/]+)", free),
    ]


def _view(provider: Provider, minor: int) -> str:
    level = "trees" if minor >= TREES else str(sum(1 for _, since in PARTS if minor >= since))
    text = provider.fragments.get(level)
    if text is None:
        path = f"/resource_providers/{provider.uuid}"
        row: dict[str, Any] = {
            "uuid": provider.uuid,
            "name": provider.name,
            "generation": provider.generation,
            "links": [{"rel": "self", "href": path}]
            + [{"rel": part, "href": f"{path}/{part}"} for part, since in PARTS if minor >= since],
        }
        if minor >= TREES:
            row |= {"parent_provider_uuid": provider.parent, "root_provider_uuid": provider.root}
        text = provider.fragments[level] = dump(row)
    return text


def index(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers with its filters."""
    placed.need("resource_providers:list")
    refuse_unknown(placed, FILTERS, UNKNOWN_FILTER)
    call, ledger = placed.call, placed.world.ledger
    name, uuid, tree = call.one("name"), call.one("uuid"), call.one("in_tree")
    wanted = call.one("resources")
    amounts = parse_resources(placed.world, wanted) if wanted is not None else {}
    tests = member_tests(placed) + trait_tests(
        placed, "required", 'Invalid trait(s) in "required" parameter: '
    )
    root = ledger.providers[tree].root if tree in ledger.providers else tree
    found = [
        provider
        for provider in ledger.providers.values()
        if name in (None, provider.name)
        and uuid in (None, provider.uuid)
        and root in (None, provider.root)
        and all(test(provider) for test in tests)
        and all(provider.fits(resource_class, amount) for resource_class, amount in amounts.items())
    ]
    texts = ", ".join(_view(provider, placed.minor) for provider in found)
    last = max((provider.updated_at for provider in found), default=None)
    return fresh(placed.world, f'{{"resource_providers": [{texts}]}}', last)


def _provider(placed: PlacementCall, words: str = "{text}") -> Provider:
    try:
        return placed.world.ledger.get(placed.match["uuid"])
    except NotFoundError as error:
        text = words.format(text=error.message, uuid=placed.match["uuid"])
        raise NotFoundError(text) from error


def show(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}."""
    placed.need("resource_providers:show")
    provider = _provider(placed)
    return fresh(placed.world, _view(provider, placed.minor), provider.updated_at)


def inventories(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}/inventories."""
    placed.need("resource_providers:inventories:list")
    provider = _provider(placed, "{text} : {text}")
    rows = {
        name: {
            "total": one.total,
            "reserved": one.reserved,
            "min_unit": 1,
            "max_unit": one.max_unit or one.total,
            "step_size": 1,
            "allocation_ratio": one.allocation_ratio,
        }
        for name, one in provider.inventories.items()
    }
    body = {"resource_provider_generation": provider.generation, "inventories": rows}
    return fresh(placed.world, dump(body), provider.updated_at)


def usages(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}/usages."""
    placed.need("resource_providers:usages")
    provider = _provider(placed, "{text}: {text}")
    used = {name: provider.used.get(name, 0) for name in provider.inventories}
    body = {"resource_provider_generation": provider.generation, "usages": used}
    return fresh(placed.world, dump(body))


def _aggregates_body(provider: Provider, minor: int) -> str:
    body: dict[str, Any] = {"aggregates": provider.aggregates}
    if minor >= 19:  # noqa: PLR2004 - with the generation since
        body["resource_provider_generation"] = provider.generation
    return dump(body)


def aggregates(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}/aggregates."""
    placed.need("resource_providers:aggregates:list")
    return fresh(placed.world, _aggregates_body(_provider(placed), placed.minor))


def put_aggregates(placed: PlacementCall) -> Answer:
    """Source: PUT /resource_providers/{uuid}/aggregates; from 1.19 with the provider's generation."""
    placed.need("resource_providers:aggregates:update", write=True)
    provider = _provider(placed)
    try:
        body = placed.call.json()
    except ValueError as error:
        raise BadRequestError(f"Malformed JSON: {error}") from error
    generation = None
    if placed.minor >= 19:  # noqa: PLR2004 - with the generation since
        if not isinstance(body, dict):
            raise BadRequestError(f"JSON does not validate: {body!r} is not of type 'object'")
        for key in ("aggregates", "resource_provider_generation"):
            if key not in body:
                raise BadRequestError(f"JSON does not validate: {key!r} is a required property")
        generation, body = body["resource_provider_generation"], body["aggregates"]
    if not isinstance(body, list) or not all(isinstance(one, str) and UUID.fullmatch(one) for one in body):
        raise BadRequestError(f"JSON does not validate: {body!r} is not a list of uuids")
    placed.world.ledger.set_aggregates(provider.uuid, body, generation, placed.world.now())
    return fresh(placed.world, _aggregates_body(provider, placed.minor))


def traits(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}/traits."""
    placed.need("resource_providers:traits:list")
    provider = _provider(placed, "{text}: {text}")
    body = {"traits": provider.traits, "resource_provider_generation": provider.generation}
    return fresh(placed.world, dump(body), provider.updated_at)


def allocations(placed: PlacementCall) -> Answer:
    """Source: GET /resource_providers/{uuid}/allocations."""
    placed.need("resource_providers:allocations:list")
    provider = _provider(placed, "Resource provider '{uuid}' not found: {text}")
    rows: dict[str, Any] = {}
    for uuid, amounts in provider.consumers.items():
        rows[uuid] = {"resources": dict(sorted(amounts.items()))}
        if placed.minor >= 28:  # noqa: PLR2004 - with the consumer's generation since
            rows[uuid]["consumer_generation"] = placed.world.ledger.consumers[uuid].generation
    body = {"allocations": rows, "resource_provider_generation": provider.generation}
    return fresh(placed.world, dump(body), provider.updated_at)


def project_usages(placed: PlacementCall) -> Answer:
    """Source: GET /usages for a project, and a user of it."""
    placed.need("usages")
    project, user = placed.call.one("project_id"), placed.call.one("user_id")
    if project is None:
        raise BadRequestError("Invalid query string parameters: 'project_id' is a required property")
    wanted = placed.call.one("consumer_type")
    groups: dict[str, dict[str, int]] = {}
    for one in placed.world.ledger.consumers.values():
        if one.project_id != project or user not in (None, one.user_id):
            continue
        if wanted not in (None, "all", one.consumer_type):
            continue
        group = "all" if wanted == "all" or placed.minor < 38 else one.consumer_type  # noqa: PLR2004
        sums = groups.setdefault(group, {"consumer_count": 0})
        sums["consumer_count"] += 1
        for amounts in one.claim.values():
            for name, amount in amounts.items():
                sums[name] = sums.get(name, 0) + amount
    if placed.minor < 38:  # noqa: PLR2004 - by consumer type since
        flat = groups.get("all", {})
        flat.pop("consumer_count", None)
        return fresh(placed.world, dump({"usages": flat}))
    return fresh(placed.world, dump({"usages": groups}))


def all_traits(placed: PlacementCall) -> Answer:
    """Source: GET /traits, also with name=startswith:PREFIX or name=in:A,B."""
    placed.need("traits:list")
    name = placed.call.one("name") or ""
    names = known_traits(placed.world)
    if name.startswith("startswith:"):
        names = {one for one in names if one.startswith(name.removeprefix("startswith:"))}
    elif name.startswith("in:"):
        names &= set(name.removeprefix("in:").split(","))
    return fresh(placed.world, dump({"traits": sorted(names)}))


def classes(placed: PlacementCall) -> Answer:
    """Source: GET /resource_classes."""
    placed.need("resource_classes:list")
    rows = [
        {"name": name, "links": [{"rel": "self", "href": f"/resource_classes/{name}"}]}
        for name in known_classes(placed.world)
    ]
    return fresh(placed.world, dump({"resource_classes": rows}))


def consumer(placed: PlacementCall) -> Answer:
    """Source: GET /allocations/{consumer}; nobody's allocations are an empty object."""
    placed.need("allocations:list")
    one = placed.world.ledger.consumers.get(placed.match["uuid"])
    if one is None:
        return fresh(placed.world, json.dumps({"allocations": {}}))
    providers = placed.world.ledger.providers
    rows = {
        uuid: {"generation": providers[uuid].generation, "resources": amounts}
        for uuid, amounts in one.claim.items()
    }
    body: dict[str, Any] = {"allocations": rows, "project_id": one.project_id, "user_id": one.user_id}
    if placed.minor >= 28:  # noqa: PLR2004 - with the consumer's generation since
        body["consumer_generation"] = one.generation
    if placed.minor >= 38:  # noqa: PLR2004 - with the consumer's type since
        body["consumer_type"] = one.consumer_type
    return fresh(placed.world, dump(body), one.updated_at)


def free(placed: PlacementCall) -> Answer:
    """Source: DELETE /allocations/{consumer}; providers keep their generation."""
    placed.need("allocations:delete", write=True)
    uuid = placed.match["uuid"]
    if not placed.world.ledger.release(uuid):
        raise NotFoundError(f"No allocations for consumer '{uuid}'")
    return Answer(204, "", content_type=None)
