"""Placement's allocation_candidates: what would fit, with the summaries of whole trees."""

from typing import Any

from spotd.sim.errors import BadRequestError
from spotd.sim.ledger import Provider
from spotd.sim.placement import PlacementCall, Row, fresh, parse_resources
from spotd.sim.placement_filters import member_tests, refuse_unknown, trait_tests
from spotd.sim.wire import Answer, dump

MAPS = 12
"""Allocations are objects by provider since 1.12, lists before."""
TRAITS = 17
ALL_CLASSES = 27
TREES = 29
MAPPINGS = 34
MOST = 100_000
"""What `max_allocation_candidates` is taken to be."""
PARAMETERS = {
    "resources": 10,
    "limit": 16,
    "required": 17,
    "member_of": 21,
    "group_policy": 25,
    "in_tree": 31,
    "root_required": 35,
    "same_subtree": 36,
}
UNKNOWN_PARAMETER = (
    "'{name}' does not match any of the regexes: '^in_tree([a-zA-Z0-9_-]{{1,64}})?$', "
    "'^member_of([a-zA-Z0-9_-]{{1,64}})?$', '^required([a-zA-Z0-9_-]{{1,64}})?$', "
    "'^resources([a-zA-Z0-9_-]{{1,64}})?$'"
)


def rows() -> list[Row]:
    """The routes of this resource."""
    return [Row("GET", r"/allocation_candidates", index, 10)]


def index(placed: PlacementCall) -> Answer:
    """Source: GET /allocation_candidates; hosts without room in a requested class are missing."""
    placed.need("allocation_candidates:list")
    refuse_unknown(placed, PARAMETERS, UNKNOWN_PARAMETER)
    call, ledger = placed.call, placed.world.ledger
    wanted = call.one("resources")
    if wanted is None:
        raise BadRequestError("There must be at least one resources or resources[$S] parameter.")
    amounts = parse_resources(placed.world, wanted)
    limit = _limit(call.one("limit"))
    tree = call.one("in_tree")
    only = ledger.providers[tree].root if tree in ledger.providers else tree
    members = member_tests(placed)
    traits = trait_tests(placed, "required", "") + trait_tests(placed, "root_required", "")
    requests: list[str] = []
    summaries: list[str] = []
    for root in ledger.roots():
        if len(requests) >= limit:
            break
        if only not in (None, root.uuid) or not all(test(root) for test in [*members, *traits]):
            continue
        ways = ledger.candidates(root.uuid, amounts, limit - len(requests))
        if not ways:
            continue
        requests += [_request(way, placed.minor) for way in ways]
        if placed.minor >= TREES:
            summaries += [_summary(provider, placed.minor, amounts) for provider in ledger.tree(root.uuid)]
        else:
            used = dict.fromkeys(uuid for way in ways for uuid in way)
            summaries += [_summary(ledger.providers[uuid], placed.minor, amounts) for uuid in used]
    body = f'{{"allocation_requests": [{", ".join(requests)}], '
    body += f'"provider_summaries": {{{", ".join(summaries)}}}}}'
    return fresh(placed.world, body)


def _limit(text: str | None) -> int:
    if text is None:
        return MOST
    if not text.isdigit() or int(text) < 1:
        raise BadRequestError(f"Invalid query string parameters: {text!r} does not match '^[1-9][0-9]*$'")
    return int(text)


def _request(way: dict[str, dict[str, int]], minor: int) -> str:
    if minor < MAPS:
        rows = [{"resource_provider": {"uuid": uuid}, "resources": part} for uuid, part in way.items()]
        return dump({"allocations": rows})
    request: dict[str, Any] = {"allocations": {uuid: {"resources": part} for uuid, part in way.items()}}
    if minor >= MAPPINGS:
        request["mappings"] = {"": list(way)}
    return dump(request)


def _summary(provider: Provider, minor: int, amounts: dict[str, int]) -> str:
    if minor < ALL_CLASSES:
        return _summary_text(provider, minor, amounts)
    key = "summary-trees" if minor >= TREES else "summary"
    text = provider.fragments.get(key)
    if text is None:
        text = provider.fragments[key] = _summary_text(provider, minor, amounts)
    return text


def _summary_text(provider: Provider, minor: int, amounts: dict[str, int]) -> str:
    resources = {
        name: {"capacity": inventory.capacity, "used": provider.used.get(name, 0)}
        for name, inventory in provider.inventories.items()
        if minor >= ALL_CLASSES or name in amounts
    }
    row: dict[str, Any] = {"resources": resources}
    if minor >= TRAITS:
        row["traits"] = provider.traits
    if minor >= TREES:
        row |= {"parent_provider_uuid": provider.parent, "root_provider_uuid": provider.root}
    return f'"{provider.uuid}": {dump(row)}'
