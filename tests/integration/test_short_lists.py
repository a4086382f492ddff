"""Lists with holes: what others contradict at scale is unknown, cold or warm, and heals by itself."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from clouds_under_test import MAX_AGE_SECONDS, StandingClock, Watched, watching

from spotd.agents.state import AgentName
from spotd.clouds.errors import Failure
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ContradictionKind, FleetSnapshot, OutOfStock
from spotd.fleet.totals import out_of_stock_totals, pool_totals
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind


@dataclass(frozen=True)
class Lie:
    """Faults, the agent that they make a list with holes for, and the source that is then in doubt."""

    faults: tuple[Fault, ...]
    agent: AgentName
    source: Source


Rows = list[dict[str, Any]]
HOST = "OS-EXT-SRV-ATTR:host"


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def cloud(clock: StandingClock) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5, now=clock) as running:
        yield running


@pytest.fixture
def watched(cloud: EmbeddedCloud, clock: StandingClock) -> Iterator[Watched]:
    with watching(cloud, clock=clock) as region:
        yield region


def lists(path: str, key: str, change: Callable[[Rows], Rows]) -> Fault:
    def rewrite(document: Any) -> Any:
        return {**document, key: change(document[key])} if key in document else document

    return Fault(kind=FaultKind.REWRITTEN, service="nova", path=path, rewrite=rewrite)


def summaries(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Fault:
    def rewrite(document: Any) -> Any:
        return {**document, "provider_summaries": change(document["provider_summaries"])}

    path = "/allocation_candidates"
    return Fault(kind=FaultKind.REWRITTEN, service="placement", path=path, rewrite=rewrite)


def none_used(found: dict[str, Any]) -> dict[str, Any]:
    def unused(summary: dict[str, Any]) -> dict[str, Any]:
        resources = {name: {**counts, "used": 0} for name, counts in summary["resources"].items()}
        return {**summary, "resources": resources}

    return {uuid: unused(summary) for uuid, summary in found.items()}


def half_of_the_trees(found: dict[str, Any]) -> dict[str, Any]:
    roots = sorted({summary["root_provider_uuid"] for summary in found.values()})[::2]
    return {uuid: summary for uuid, summary in found.items() if summary["root_provider_uuid"] in roots}


def half_of_the_providers(document: Any) -> Any:
    rows = document["resource_providers"]
    roots = sorted({row["root_provider_uuid"] for row in rows})[::2]
    return {"resource_providers": [row for row in rows if row["root_provider_uuid"] in roots]}


NO_SERVERS = lists("/servers/detail", "servers", lambda rows: [])
HALF_OF_THE_SERVERS = lists(
    "/servers/detail", "servers", lambda rows: [row for row in rows if (row[HOST] or "")[-1:] in "13579"]
)
ALL_DELETED = lists("/servers/detail", "servers", lambda rows: [{**row, "status": "DELETED"} for row in rows])
NO_SERVICES = lists("/os-services", "services", lambda rows: [])
HALF_OF_THE_SERVICES = lists("/os-services", "services", lambda rows: rows[::2])
A_QUARTER_OF_THE_SERVICES_LESS = lists(
    "/os-services", "services", lambda rows: [row for place, row in enumerate(rows) if place % 4]
)
NONE_USED = summaries(none_used)
HALF_OF_THE_TREES = summaries(half_of_the_trees)
HALF_OF_THE_PROVIDERS = Fault(
    kind=FaultKind.REWRITTEN, service="placement", path="/resource_providers", rewrite=half_of_the_providers
)
CASES = [
    pytest.param(Lie((NO_SERVERS,), AgentName.SERVERS, Source.SERVERS), id="no-servers"),
    pytest.param(Lie((HALF_OF_THE_SERVERS,), AgentName.SERVERS, Source.SERVERS), id="half-of-the-servers"),
    pytest.param(Lie((NO_SERVICES,), AgentName.SERVERS, Source.SERVICES), id="no-services"),
    pytest.param(Lie((HALF_OF_THE_SERVICES,), AgentName.SERVERS, Source.SERVICES), id="half-of-the-services"),
    pytest.param(
        Lie((A_QUARTER_OF_THE_SERVICES_LESS,), AgentName.SERVERS, Source.SERVICES),
        id="a-quarter-of-services-less",
    ),
    pytest.param(Lie((NONE_USED,), AgentName.GPUS, Source.GPUS), id="no-gpu-used"),
    pytest.param(
        Lie(
            (
                HALF_OF_THE_TREES,
                HALF_OF_THE_PROVIDERS,
            ),
            AgentName.GPUS,
            Source.GPUS,
        ),
        id="half-of-the-providers",
    ),
]


def numbers(snapshot: FleetSnapshot) -> dict[str, float | None]:
    """Everything that a false zero could hide in."""
    found: dict[str, float | None] = {}
    for pool in pool_totals(snapshot) or ():
        for name in ("hosts", "free_hosts", "gpus", "gpus_used"):
            found[f"{pool.gpu_type}/{pool.pool}/{name}"] = getattr(pool, name)
    for out in out_of_stock_totals(snapshot) or ():
        found[f"{out.gpu_type}/{out.reason}"] = out.hosts if out.is_whole else None
    for host in snapshot.hosts.values():
        found[f"{host.name}/gpus"] = host.gpus
        found[f"{host.name}/gpus_used"] = host.gpus_used
        found[f"{host.name}/servers"] = None if host.server_ids is None else len(host.server_ids)
    return found


def walk_is_over(watched: Watched) -> bool:
    walk = watched.region.servers._walk
    return walk is None or walk.thread is None or not walk.thread.is_alive()


def truth(cloud: EmbeddedCloud, clock: StandingClock) -> dict[str, float | None]:
    with watching(cloud, clock=clock) as honest:
        return numbers(honest.settle())


def assert_nothing_false(right: dict[str, float | None], snapshot: FleetSnapshot) -> None:
    told = {name: value for name, value in numbers(snapshot).items() if value is not None}
    assert {} == {name: value for name, value in told.items() if value != right.get(name, 0)}
    assert not [
        host for host in snapshot.hosts.values() if host.out_of_stock is OutOfStock.NO_COMPUTE_SERVICE
    ]


@pytest.mark.parametrize("lie", CASES)
def test_a_cold_start_on_a_list_with_holes_knows_nothing_of_it(
    lie: Lie,
    cloud: EmbeddedCloud,
    clock: StandingClock,
    watched: Watched,
) -> None:
    """200, well-formed, and no earlier reading to hold it against."""
    right = truth(cloud, clock)
    handles = [cloud.faults.add(fault) for fault in lie.faults]

    for _ in range(4):
        watched.steady()
        watched.until(lambda: walk_is_over(watched))
        if lie.source is not Source.GPUS or watched.snapshot().readings.servers is not None:
            # Until the servers are known, nothing contradicts Placement.
            assert_nothing_false(right, watched.snapshot())
        clock.move(15)

    assert any(handle.met for handle in handles)
    state = watched.state(lie.agent)
    assert (False, Failure.INCOMPLETE) == (state.succeeded, state.last_failure_reason)
    if watched.snapshot().readings.of(lie.source) is None and lie.source is not Source.SERVICES:
        kinds = {contradiction.kind for contradiction in watched.snapshot().contradictions}
        assert ContradictionKind.PARTIAL_READING in kinds
    cloud.faults.clear()
    clock.move(15)
    healed = watched.settle()
    clock.move(15)
    healed = watched.steady()
    assert watched.state(lie.agent).succeeded
    assert right == numbers(healed)


@pytest.mark.parametrize("lie", CASES)
def test_a_warm_daemon_keeps_the_last_reading_that_nobody_contradicted(
    lie: Lie,
    cloud: EmbeddedCloud,
    clock: StandingClock,
    watched: Watched,
) -> None:
    """With its age, until it is too old: then it is unknown."""
    right = numbers(watched.settle())
    for fault in lie.faults:
        cloud.faults.add(fault)

    for _ in range(5):
        clock.move(310 if lie.source is Source.GPUS else 15)
        watched.collect(force=frozenset({AgentName.GPUS}))
        assert_nothing_false(right, watched.snapshot())

    state = watched.state(lie.agent)
    if lie.source is not Source.SERVERS:  # servers that changes do not tell of stay as they are
        assert (False, Failure.INCOMPLETE) == (state.succeeded, state.last_failure_reason)
    cloud.faults.clear()
    clock.move(15)
    watched.settle()
    clock.move(15)
    assert right == numbers(watched.steady())


def test_servers_told_as_deleted_while_placement_holds_their_gpus_are_not_believed(
    cloud: EmbeddedCloud, clock: StandingClock, watched: Watched
) -> None:
    right = numbers(watched.settle())
    for server in cloud.world.servers.by_id.values():
        server.updated = clock.now()
    cloud.faults.add(ALL_DELETED)

    for _ in range(int(MAX_AGE_SECONDS / 100) + 1):
        clock.move(100)
        watched.steady()
        assert_nothing_false(right, watched.snapshot())

    assert Failure.INCOMPLETE == watched.state(AgentName.SERVERS).last_failure_reason
    assert watched.snapshot().readings.servers is None
    cloud.faults.clear()
    # A walk that began among the lies is over and doubted first; Nova is then left alone as long as it took.
    for _ in range(4):
        clock.move(61)
        watched.steady()
        watched.until(lambda: walk_is_over(watched))
    assert right == numbers(watched.collect())


def test_a_list_that_is_doubted_is_not_what_a_restart_begins_with(
    cloud: EmbeddedCloud, clock: StandingClock, watched: Watched, tmp_path: Any
) -> None:
    cloud.faults.add(NO_SERVERS)
    for _ in range(3):
        watched.steady()
        watched.until(lambda: walk_is_over(watched))
    watched.region.save(tmp_path)
    cloud.faults.clear()

    with watching(cloud, clock=clock) as restarted:
        restarted.region.resume(tmp_path, resume_seconds=3600)
        snapshot = restarted.snapshot()

        assert snapshot.readings.servers is None
        assert restarted.region.servers.position is None
