"""Every agent under every fault: what was known stays with its age, nothing turns into zero, all heals."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from clouds_under_test import (
    MAX_AGE_SECONDS,
    StandingClock,
    Watched,
    refuse_connections,
    settings_of,
    watching,
)

from spotd.agents.state import AgentName
from spotd.clouds.errors import Failure
from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.totals import contract_totals, out_of_stock_totals, pool_totals
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind

NETBOX, AGGREGATES, SERVERS, GPUS = (
    AgentName.NETBOX,
    AgentName.AGGREGATES,
    AgentName.SERVERS,
    AgentName.GPUS,
)
OPENSTACK = frozenset({AGGREGATES, SERVERS, GPUS})
SOURCES = {
    NETBOX: (Source.NETBOX,),
    AGGREGATES: (Source.AGGREGATES,),
    SERVERS: (Source.SERVICES, Source.SERVERS),
    GPUS: (Source.GPUS,),
}
SOURCES_ALL = [source for sources in SOURCES.values() for source in sources]
ASKS = {
    NETBOX: ("netbox", "/api/"),
    AGGREGATES: ("nova", "/os-aggregates"),
    SERVERS: ("nova", "/os-services|/servers"),
    GPUS: ("placement", "/"),
}
LISTS = {
    NETBOX: ("netbox", "/dcim/devices/"),
    AGGREGATES: ("nova", "/os-aggregates"),
    SERVERS: ("nova", "/os-services"),
    GPUS: ("placement", "/allocation_candidates"),
}
PAGED = {NETBOX: LISTS[NETBOX], SERVERS: ("nova", "/servers/detail")}
HALF_A_DOCUMENT = '{"services": [{"id": "1", "host'

Clear = Callable[[], None]
Plant = Callable[[Watched, EmbeddedCloud], Clear]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault of one agent's cloud; `reason` None: the agent gets over it by itself."""

    agent: AgentName
    plant: Plant
    reason: str | None
    harmed: frozenset[AgentName]
    stays: frozenset[Source] = frozenset()
    """Sources of a harmed agent that are read all the same."""
    heals_late: bool = False
    """Whether the first collection afterwards only drops the old catalog, which happens once a minute."""


def planted(fault: Fault) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        cloud.faults.add(fault)
        return cloud.faults.clear

    return plant


def wrong_password(watched: Watched, cloud: EmbeddedCloud) -> Clear:
    users = cloud.world.identity.users
    right = users["admin"]
    users["admin"] = replace(right, password="changed")
    cloud.world.revoke_tokens()
    return lambda: users.update(admin=right)


def wrong_token(watched: Watched, cloud: EmbeddedCloud) -> Clear:
    tokens = cloud.world.netbox.tokens
    before = set(tokens)
    tokens.clear()
    return lambda: tokens.update(before)


def refused(service: str) -> Plant:
    return lambda watched, cloud: refuse_connections(cloud, service)


def missing_from_catalog(service_type: str) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        identity = cloud.world.identity
        before = list(identity.catalog)
        identity.remove_service(service_type)
        watched.region.session.forget_token()
        return lambda: setattr(identity, "catalog", before)

    return plant


def too_old(service: str, newest: int) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        before = getattr(cloud.world, f"{service}_max")
        setattr(cloud.world, f"{service}_max", newest)
        return lambda: setattr(cloud.world, f"{service}_max", before)

    return plant


def cell_down(mode: Any) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        cloud.world.cell_down(cell="cell1", mode=mode)
        return lambda: cloud.world.cell_down(down=False)

    return plant


def clock_off(seconds: float) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        watched.clock.move(seconds)
        return lambda: None

    return plant


def no_more_tokens(how: str) -> Plant:
    def plant(watched: Watched, cloud: EmbeddedCloud) -> Clear:
        getattr(cloud.world, how)()
        return lambda: None

    return plant


def on_the_wire() -> Iterator[Any]:
    """Faults that look the same whoever is asked."""
    same = {
        "html-200": (Fault(kind=FaultKind.HTML, status=200), Failure.MALFORMED),
        "html-502": (Fault(kind=FaultKind.HTML, status=502), Failure.SERVER_ERROR),
        "401": (Fault(kind=FaultKind.STATUS, status=401), Failure.UNAUTHORIZED),
        "403": (Fault(kind=FaultKind.STATUS, status=403), Failure.FORBIDDEN),
        "404": (Fault(kind=FaultKind.STATUS, status=404), Failure.NOT_FOUND),
        "406": (Fault(kind=FaultKind.STATUS, status=406), Failure.MICROVERSION),
        "409": (Fault(kind=FaultKind.STATUS, status=409), Failure.CONFLICT),
        "429": (
            Fault(kind=FaultKind.STATUS, status=429, headers={"Retry-After": "7"}),
            Failure.RATE_LIMITED,
        ),
        "500": (Fault(kind=FaultKind.STATUS, status=500), Failure.SERVER_ERROR),
        "502": (Fault(kind=FaultKind.STATUS, status=502), Failure.SERVER_ERROR),
        "503": (Fault(kind=FaultKind.STATUS, status=503), Failure.SERVER_ERROR),
        "504": (Fault(kind=FaultKind.STATUS, status=504), Failure.SERVER_ERROR),
        "reset": (Fault(kind=FaultKind.RESET), Failure.CONNECTION),
        "cut-short": (Fault(kind=FaultKind.TRUNCATED), Failure.CONNECTION),
        "half-a-document": (
            Fault(kind=FaultKind.STATUS, status=200, body=HALF_A_DOCUMENT),
            Failure.MALFORMED,
        ),
        "hang": (Fault(kind=FaultKind.HANG), Failure.TIMEOUT),
        "drip": (Fault(kind=FaultKind.DRIP, seconds=0.05), Failure.TIMEOUT),
        "wrong-shape": (Fault(kind=FaultKind.WRONG_SHAPE), Failure.MALFORMED),
        "redirected": (
            Fault(kind=FaultKind.STATUS, status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"}),
            Failure.CONFIGURATION,
        ),
        "moved-for-good": (
            Fault(kind=FaultKind.STATUS, status=308, headers={"Location": "http://127.0.0.1:9/elsewhere"}),
            Failure.CONFIGURATION,
        ),
        "html-404": (Fault(kind=FaultKind.HTML, status=404), Failure.MALFORMED),
        "nested-without-bound": (
            Fault(kind=FaultKind.STATUS, status=200, body="[" * 100_000),
            Failure.MALFORMED,
        ),
        "half-a-character": (
            Fault(kind=FaultKind.STATUS, status=200, body='{"services": [{"host": "\\ud800"}]}'),
            Failure.MALFORMED,
        ),
    }
    # NetBox answers 403 to a bad token, and has no conflicts in reading; its 404 decides nothing.
    netbox = {
        "403": Failure.UNAUTHORIZED,
        "406": Failure.REFUSED,
        "409": Failure.REFUSED,
        "html-404": Failure.NOT_FOUND,
    }
    for agent, (service, path) in ASKS.items():
        for name, (fault, usual) in same.items():
            reason = netbox.get(name, usual) if agent is NETBOX else usual
            plant = planted(replace(fault, service=service, path=path))
            case = Case(agent=agent, plant=plant, reason=reason, harmed=frozenset({agent}))
            yield pytest.param(case, id=f"{agent}-{name}")
    for agent, (service, path) in LISTS.items():
        plant = planted(Fault(kind=FaultKind.EMPTY_PAGE, service=service, path=path))
        case = Case(agent=agent, plant=plant, reason=Failure.INCOMPLETE, harmed=frozenset({agent}))
        yield pytest.param(case, id=f"{agent}-empty-page")
    for agent, (service, path) in PAGED.items():
        plant = planted(Fault(kind=FaultKind.PAGE_LOOP, service=service, path=path))
        stays = frozenset({Source.SERVICES}) if agent is SERVERS else frozenset()
        case = Case(
            agent=agent, plant=plant, reason=Failure.MALFORMED, harmed=frozenset({agent}), stays=stays
        )
        yield pytest.param(case, id=f"{agent}-page-loop")


def of_keystone() -> Iterator[Any]:
    """Faults of the identity service, which hit who asks for the next token; NetBox has its own."""
    rows = {
        "401": (Fault(kind=FaultKind.STATUS, status=401), Failure.UNAUTHORIZED),
        "500": (Fault(kind=FaultKind.STATUS, status=500), Failure.SERVER_ERROR),
        "reset": (Fault(kind=FaultKind.RESET), Failure.CONNECTION),
        "hang": (Fault(kind=FaultKind.HANG), Failure.TIMEOUT),
        "drip": (Fault(kind=FaultKind.DRIP, seconds=0.05), Failure.TIMEOUT),
    }
    for name, (fault, reason) in rows.items():

        def plant(watched: Watched, cloud: EmbeddedCloud, fault: Fault = fault) -> Clear:
            watched.region.session.forget_token()
            return planted(replace(fault, service="keystone"))(watched, cloud)

        yield pytest.param(
            Case(agent=GPUS, plant=plant, reason=reason, harmed=OPENSTACK), id=f"keystone-{name}"
        )


def lies(service: str, path: str, rewrite: Callable[[Any], Any]) -> Plant:
    return planted(Fault(kind=FaultKind.REWRITTEN, service=service, path=path, rewrite=rewrite))


def services_with(**fields: Any) -> Callable[[Any], Any]:
    return lambda document: {"services": [{**row, **fields} for row in document["services"]]}


def half(key: str) -> Callable[[Any], Any]:
    return lambda document: {**document, key: document[key][::2]} if key in document else document


def twice(key: str) -> Callable[[Any], Any]:
    return lambda document: {**document, key: document[key] + document[key][:1]}


def less_than_none(document: Any) -> Any:
    summaries = document["provider_summaries"].values()
    for summary in summaries:
        for counts in summary["resources"].values():
            counts["used"] = -1
    return document


def token_without_end(watched: Watched, cloud: EmbeddedCloud) -> Clear:
    watched.region.session.forget_token()
    return lies("keystone", "/auth/tokens", lambda found: {"token": {**found["token"], "expires_at": None}})(
        watched, cloud
    )


def old_netbox(watched: Watched, cloud: EmbeddedCloud) -> Clear:
    before = cloud.world.netbox.version
    cloud.world.netbox.upgrade((3, 4))
    return lambda: cloud.world.netbox.upgrade(before)


def that_lie() -> Iterator[Any]:
    """Well-formed answers that cannot be true."""
    rows: list[tuple[str, AgentName, Plant, Failure]] = [
        (
            "heartbeats-year-1",
            SERVERS,
            lies(*LISTS[SERVERS], services_with(updated_at="0001-01-01T00:00:00")),
            Failure.MALFORMED,
        ),
        (
            "heartbeats-year-9999",
            SERVERS,
            lies(*LISTS[SERVERS], services_with(updated_at="9999-12-31T23:59:59")),
            Failure.MALFORMED,
        ),
        ("no-service-status", SERVERS, lies(*LISTS[SERVERS], services_with(status=None)), Failure.MALFORMED),
        ("services-twice", SERVERS, lies(*LISTS[SERVERS], twice("services")), Failure.MALFORMED),
        ("aggregates-twice", AGGREGATES, lies(*LISTS[AGGREGATES], twice("aggregates")), Failure.MALFORMED),
        ("devices-twice", NETBOX, lies(*LISTS[NETBOX], twice("results")), Failure.MALFORMED),
        (
            "half-of-the-aggregates",
            AGGREGATES,
            lies(*LISTS[AGGREGATES], half("aggregates")),
            Failure.INCOMPLETE,
        ),
        ("less-than-none-used", GPUS, lies(*LISTS[GPUS], less_than_none), Failure.MALFORMED),
        ("release-too-old", NETBOX, old_netbox, Failure.MICROVERSION),
    ]
    for name, agent, plant, reason in rows:
        case = Case(agent=agent, plant=plant, reason=reason, harmed=frozenset({agent}))
        yield pytest.param(case, id=f"{agent}-{name}")
    for name, change in (
        ("half-of-the-services", half("services")),
        ("no-services", lambda found: {"services": []}),
    ):
        case = Case(
            agent=SERVERS,
            plant=lies(*LISTS[SERVERS], change),
            reason=Failure.INCOMPLETE,
            harmed=frozenset({SERVERS}),
            stays=frozenset({Source.SERVERS}) if name.startswith("half") else frozenset(),
        )
        yield pytest.param(case, id=f"{SERVERS}-{name}")
    case = Case(agent=GPUS, plant=token_without_end, reason=Failure.MALFORMED, harmed=OPENSTACK)
    yield pytest.param(case, id="keystone-token-without-end")


def of_the_cloud() -> Iterator[Any]:
    """Faults that need more than a bent answer, with all whom they harm."""
    nova, placement, inventory = frozenset({AGGREGATES, SERVERS}), frozenset({GPUS}), frozenset({NETBOX})
    none: frozenset[AgentName] = frozenset()
    rows: list[tuple[str, AgentName, Plant, str | None, frozenset[AgentName]]] = [
        ("token-wrong", NETBOX, wrong_token, Failure.UNAUTHORIZED, inventory),
        ("refused", NETBOX, refused("netbox"), Failure.CONNECTION, inventory),
        ("refused", GPUS, refused("placement"), Failure.CONNECTION, placement),
        ("not-in-catalog", GPUS, missing_from_catalog("placement"), Failure.NOT_IN_CATALOG, placement),
        ("microversion", GPUS, too_old("placement", 30), Failure.MICROVERSION, placement),
        ("cell-silent", SERVERS, cell_down("silent"), Failure.INCOMPLETE, frozenset({SERVERS})),
        ("cell-error", SERVERS, cell_down("error"), Failure.INCOMPLETE, frozenset({SERVERS})),
    ]
    for agent in (AGGREGATES, SERVERS):
        rows += [
            ("refused", agent, refused("nova"), Failure.CONNECTION, nova),
            ("not-in-catalog", agent, missing_from_catalog("compute"), Failure.NOT_IN_CATALOG, nova),
            ("microversion", agent, too_old("nova", 40), Failure.MICROVERSION, nova),
        ]
    for agent in (AGGREGATES, SERVERS, GPUS):
        rows.append(("password-wrong", agent, wrong_password, Failure.UNAUTHORIZED, OPENSTACK))
    for agent in AgentName:
        rows += [
            ("clock-ahead", agent, clock_off(300), None, none),
            ("clock-behind", agent, clock_off(-300), None, none),
            ("token-expired", agent, no_more_tokens("expire_tokens"), None, none),
            ("token-revoked", agent, no_more_tokens("revoke_tokens"), None, none),
        ]
    for name, agent, plant, reason, harmed in rows:
        late = name == "not-in-catalog"
        case = Case(agent=agent, plant=plant, reason=reason, harmed=harmed, heals_late=late)
        yield pytest.param(case, id=f"{agent}-{name}")


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5, now=StandingClock()) as running:
        yield running


@pytest.fixture
def watched(cloud: EmbeddedCloud) -> Iterator[Watched]:
    with watching(cloud) as region:
        yield region


def numbers(snapshot: FleetSnapshot) -> dict[str, float | None]:
    """Every number that the snapshot sums up to, by a name."""
    found: dict[str, float | None] = {}
    for pool in pool_totals(snapshot) or ():
        for name in ("hosts", "free_hosts", "gpus", "gpus_used", "utilization_ratio"):
            found[f"{pool.gpu_type}/{pool.pool}/{name}"] = getattr(pool, name)
    for contract in contract_totals(snapshot) or ():
        found[f"{contract.contract}/{contract.gpu_type}/hosts"] = contract.hosts
        found[f"{contract.contract}/{contract.gpu_type}/gpus"] = contract.gpus
    for out in out_of_stock_totals(snapshot) or ():
        found[f"{out.gpu_type}/{out.reason}"] = out.hosts if out.is_whole else None
    for host in snapshot.hosts.values():
        found[f"{host.name}/gpus"] = host.gpus
        found[f"{host.name}/gpus_used"] = host.gpus_used
        servers = host.server_ids
        found[f"{host.name}/servers"] = None if servers is None else len(servers)
    return found


def assert_never_falsely_zero(good: FleetSnapshot, now: FleetSnapshot) -> None:
    before, after = numbers(good), numbers(now)
    assert [name for name, value in after.items() if value == 0 and before.get(name) != 0] == []


def assert_fresh(watched: Watched, *agents: AgentName, but: frozenset[Source] = frozenset()) -> None:
    for agent in agents:
        assert (agent, True, None) == (
            agent,
            watched.state(agent).succeeded,
            watched.state(agent).running_since,
        )
        for source in SOURCES[agent]:
            reading = watched.snapshot().readings.of(source)
            assert reading is not None
            assert source in but or watched.clock.now() == reading.read_at, source


@pytest.mark.parametrize("case", [*on_the_wire(), *of_keystone(), *that_lie(), *of_the_cloud()])
def test_a_fault_costs_only_the_freshness_of_what_it_hits(
    case: Case, cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Good, failing, healed, failing for too long."""
    good = watched.settle()
    assert good.stock_known
    assert good.readings.all_hosts_known
    assert_fresh(watched, *AgentName)
    read_at = {source: good.readings.of(source).read_at for source in Source if good.readings.of(source)}
    lost = {source for agent in case.harmed for source in SOURCES[agent]} - case.stays
    watched.clock.move(20)

    clear = case.plant(watched, cloud)
    failing = watched.collect()

    assert case.reason == (watched.state(case.agent).last_failure_reason if case.harmed else None)
    assert {agent for agent in AgentName if watched.state(agent).succeeded is False} == case.harmed
    assert_fresh(watched, *(set(AgentName) - case.harmed))
    for source in lost:
        assert read_at[source] == failing.readings.of(source).read_at
    assert good.hosts == failing.hosts
    assert numbers(good) == numbers(failing)

    clear()
    if case.heals_late:
        watched.clock.move(61)
        watched.collect()
    watched.clock.move(20)
    healed = watched.collect()

    assert_fresh(watched, *AgentName)
    assert good.hosts == healed.hosts
    if not case.harmed:
        return

    case.plant(watched, cloud)
    watched.clock.move(MAX_AGE_SECONDS + 1)
    unknown = watched.collect()

    assert {source for source in SOURCES_ALL if unknown.readings.of(source) is None} == lost
    named = {source for host in unknown.hosts.values() for source in host.sources.values()}
    assert not named & lost
    assert (pool_totals(unknown) is None) == bool(lost & {Source.AGGREGATES, Source.SERVICES})
    assert_never_falsely_zero(good, unknown)


@pytest.mark.parametrize("agent", list(AgentName))
@pytest.mark.parametrize("kind", [FaultKind.HANG, FaultKind.DRIP])
def test_a_hanging_agent_holds_up_no_other_and_leaves_no_thread(
    agent: AgentName, kind: FaultKind, cloud: EmbeddedCloud
) -> None:
    """The collection goes on without it, the next one skips it, its deadline frees its thread."""
    settings = settings_of(cloud, cache={"snapshot_seconds": 1.0}, collection={"agent_deadline_seconds": 1.6})
    slow = {"request_timeout_seconds": 5.0, "connect_timeout_seconds": 5.0}
    settings = settings.model_copy(
        update={
            "openstack": settings.openstack.model_copy(update=slow),
            "netbox": settings.netbox.model_copy(update={"request_timeout_seconds": 5.0}),
        }
    )
    with watching(cloud, settings=settings) as watched:
        watched.settle()
        watched.until(lambda: not [t for t in threading.enumerate() if t.name.startswith("deadline")])
        before = spotd_threads()
        service, path = ASKS[agent]
        cloud.faults.add(Fault(kind=kind, service=service, path=path, seconds=0.05))
        watched.clock.move(20)
        started = time.monotonic()

        result = watched.region.collection.collect(force=frozenset(AgentName))
        took = time.monotonic() - started
        assert_fresh(watched, *(set(AgentName) - {agent}))
        watched.region.collection.collect(force=frozenset(AgentName))

        assert (agent,) == result.unfinished
        assert took < 1.5
        assert (agent, "running") in watched.recorder.skipped
        watched.until(lambda: watched.region.collection.pool_state()[1] == 0)
        assert time.monotonic() - started < 1.6 + 2.0
        assert watched.state(agent).last_failure_reason == Failure.TIMEOUT
        watched.until(lambda: spotd_threads() <= before)


def spotd_threads() -> set[str]:
    """Names of threads other than the pool's own workers and the embedded cloud's."""
    return {
        thread.name
        for thread in threading.enumerate()
        if thread.name.startswith("deadline") or "walk" in thread.name
    }


def test_names_of_any_shape_survive_a_collection(cloud: EmbeddedCloud) -> None:
    """Odd case, a thousand characters, quotes and newlines are names like others."""
    odd = [
        "GPU-Host.Example.COM",
        "x" * 1000,
        'say "no"\nand \\ go',
        "naïve-機-ホスト",
        " leading",
        "a,b;c=d",
    ]
    pool = cloud.world.aggregate("H100-n3")
    hosts = list(cloud.world.computes.hosts.values())[: len(odd)]
    for host, name in zip(hosts, odd, strict=True):
        for server in cloud.world.servers_on(host.name):
            server.host = name
            server.name = name
            server.fragments.clear()
        cloud.world.servers.on_host[name] = cloud.world.servers.on_host.pop(host.name, set())
        for aggregate in cloud.world.aggregates.of(host.name):
            aggregate.hosts.remove(host.name)
        provider = cloud.world.ledger.providers[host.provider_uuid]
        provider.name = host.hypervisor_hostname = name
        del cloud.world.computes.hosts[host.name]
        device = cloud.world.netbox.device(host.name)
        device.name = host.name = name
        device.fragments.clear()
        cloud.world.computes.hosts[name] = host
        pool.hosts.append(name)

    with watching(cloud) as watched:
        snapshot = watched.settle()

    assert set(odd) <= set(snapshot.hosts)
    assert all(snapshot.hosts[name].gpus == 8 for name in odd)
    assert all(snapshot.hosts[name].server_ids is not None for name in odd)


@pytest.mark.parametrize("service", ["keystone", "nova", "placement", "netbox"])
def test_tls_to_a_port_without_it_is_a_tls_failure(service: str, cloud: EmbeddedCloud) -> None:
    """An https URL of a service that speaks plain HTTP, each service in turn."""
    yaml = cloud.clouds_yaml()
    settings = settings_of(cloud)
    harmed = {NETBOX}
    if service == "netbox":
        url = cloud.netbox_url.replace("http:", "https:")
        settings = settings_of(cloud, netbox={"url": url})
    elif service == "keystone":
        yaml["clouds"]["embedded"]["auth"]["auth_url"] = cloud.auth_url.replace("http:", "https:")
        harmed = set(OPENSTACK)
    else:
        kind = {"nova": "compute", "placement": "placement"}[service]
        for endpoint in list(cloud.world.identity.catalog):
            if endpoint.type == kind:
                cloud.world.identity.move_endpoint(kind, endpoint.url.replace("http:", "https:"))
        harmed = {AGGREGATES, SERVERS} if service == "nova" else {GPUS}

    with watching(cloud, settings=settings, clouds_yaml=yaml) as watched:
        watched.collect()
        states = {agent: watched.state(agent) for agent in AgentName}

    assert harmed == {agent for agent, state in states.items() if state.succeeded is False}
    assert {Failure.TLS} == {states[agent].last_failure_reason for agent in harmed}
