"""What holds for every fleet: each GPU host once, no order matters, nothing missing becomes a number."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from fleets import NOW, FleetBuilder, default_interpretation, gpu_flavor, named_flavor
from hypothesis import given
from hypothesis import strategies as st

from spotd.fleet.assemble import assemble
from spotd.fleet.interpretation import canonical
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import ClassifiedAggregate, ContradictionKind, FleetSnapshot, Host, Readings
from spotd.fleet.totals import PoolTotals, contract_totals, out_of_stock_totals, pool_totals
from spotd.fleet.values import Aggregates, ComputeServices, Flavor, Gpus, Inventory, Servers

INTERPRETATION = default_interpretation(gpu_roles=frozenset({"gpu"}), gpus_per_host={"h100": 8})
READ = tuple(source for source in Source if source is not Source.CONFIGURATION)
# Few names that nearly meet, so that they often do, and any text besides.
NAMES = st.sampled_from(["h1", "H1", "h1.a", "h1.b", "H1.A", "h2", "h2.a", "ß", "SS"]) | st.text(max_size=4)
AGGREGATE_NAMES = st.sampled_from(
    ["H100-n3", "H100-n3-spot", "RTX-A6000-n3", "RTX_A6000-n3-spot", "Contract-A-8xH100", "tempest", "az-1"]
)
METADATA = st.dictionaries(
    st.sampled_from(["spotd:pool", "spotd:gpu_type", "spotd:variant", "spotd:contract", "other"]),
    st.sampled_from(["spot", "contract", "testing", "H100", ""]) | st.text(max_size=4),
    max_size=2,
)
CLASSES = st.sampled_from(["CUSTOM_GPU_H100", "CUSTOM_GPU_RTX_A6000", "VGPU", "VCPU"])
COUNTS = st.tuples(st.integers(0, 8), st.integers(0, 9))
FLAVORS = st.one_of(
    st.builds(gpu_flavor, st.integers(0, 8)),
    st.builds(named_flavor, st.text(max_size=4) | st.just("n3-x2"), extra_specs_known=st.booleans()),
    st.builds(
        Flavor,
        name=st.text(max_size=4),
        pci_aliases=st.tuples(st.tuples(st.sampled_from(["h100", "nic"]), st.integers(0, 8))),
    ),
)
STATUSES = st.sampled_from(["ACTIVE", "ACTIVE", "SHUTOFF", "ERROR", "DELETED", "VERIFY_RESIZE", "BUILD"])


@st.composite
def any_fleets(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> FleetBuilder:
    """Sources that know nothing of each other, some of them missing."""
    fleet = FleetBuilder()
    for name in draw(st.lists(AGGREGATE_NAMES, unique=True, max_size=4)):
        fleet.aggregate(name, *draw(st.lists(names, max_size=4)), metadata=draw(METADATA))
    for host in draw(st.lists(names, max_size=5)):
        fleet.service(host, status=draw(st.sampled_from(["enabled", "disabled"])))
    for _ in range(draw(st.integers(0, 4))):
        fleet.server(
            draw(st.none() | names),
            draw(FLAVORS),
            hypervisor_hostname=draw(st.none() | names),
            status=draw(STATUSES),
        )
    for device in draw(st.lists(names, max_size=4)):
        fleet.device(
            device,
            status=draw(st.sampled_from(["active", "failed"])),
            gpu_count=draw(st.none() | st.integers(-1, 8)),
            tags=tuple(draw(st.lists(st.sampled_from(["h100", "web"]) | st.text(max_size=3), max_size=2))),
            role=draw(st.sampled_from(["gpu", "web", None])),
        )
    for tree in draw(st.lists(names, max_size=4)):
        fleet.tree(tree, **draw(st.dictionaries(CLASSES, COUNTS, max_size=2)))
    fleet.unread(*draw(st.lists(names, max_size=1)))
    return fleet.without(*draw(st.sets(st.sampled_from(READ), max_size=2)))


@st.composite
def agreeing_fleets(draw: st.DrawFn) -> FleetBuilder:
    """Sources that agree on one truth, of which each may know a part."""
    fleet = FleetBuilder().aggregate("untyped", metadata={"spotd:pool": "ondemand"})
    for number in range(draw(st.integers(1, 5))):
        name, gpu_type = f"gpu-{number}", draw(st.sampled_from(["H100", "RTX-A6000"]))
        pools = [f"{gpu_type}-n3", f"{gpu_type}-n3-spot", f"Contract-A-8x{gpu_type}", "tempest", "untyped"]
        gpus, servers = draw(st.integers(1, 8)), tuple(draw(st.lists(st.integers(1, 2), max_size=3)))
        if draw(st.integers(0, 9)) > 0:
            fleet.service(name, state=draw(st.sampled_from(["up", "up", "down"])))
        for aggregate in draw(st.lists(st.sampled_from(pools), unique=True, max_size=2)):
            fleet.aggregate(aggregate, name)
        for held in servers:
            fleet.server(name, gpu_flavor(held, gpu_type))
        if draw(st.booleans()):
            fleet.tree(name, **{f"CUSTOM_GPU_{canonical(gpu_type)}": (gpus, sum(servers))})
        if draw(st.booleans()):
            tags = (gpu_type.lower(),) if draw(st.booleans()) else ()
            count = draw(st.sampled_from([None, gpus]))
            fleet.device(name, gpu_count=count, tags=tags, status=draw(st.sampled_from(["active", "failed"])))
    return fleet


def with_known_devices(fleet: FleetBuilder) -> Readings:
    """Readings in which each device can be told by its tenant."""
    readings = fleet.readings()
    if readings.netbox is None:
        return readings
    devices = {
        number: replace(device, tenant=f"device {number}")
        for number, device in readings.netbox.value.devices.items()
    }
    return replace(readings, netbox=Reading(value=Inventory(devices=devices), read_at=NOW))


def ambiguous(snapshot: FleetSnapshot) -> str:
    return "\n".join(c.detail for c in snapshot.contradictions if c.kind is ContradictionKind.AMBIGUOUS_NAME)


@given(any_fleets())
def test_every_gpu_host_is_counted_exactly_once(fleet: FleetBuilder) -> None:
    snapshot = assemble(with_known_devices(fleet), INTERPRETATION, NOW)

    pools, out_of_stock = pool_totals(snapshot), out_of_stock_totals(snapshot)
    if pools is None or out_of_stock is None:
        assert not snapshot.stock_known
    else:
        counted = sum(totals.hosts for totals in (*pools, *out_of_stock))
        assert counted == len(snapshot.hosts)


@given(any_fleets())
def test_every_device_with_gpus_is_one_host_or_named_as_ambiguous(fleet: FleetBuilder) -> None:
    readings = with_known_devices(fleet)
    snapshot = assemble(readings, INTERPRETATION, NOW)

    hosts = Counter(host.tenant for host in snapshot.hosts.values())
    for number, device in readings.netbox.value.devices.items() if readings.netbox else ():
        if (device.gpu_count or 0) > 0 or device.role == "gpu":
            count = hosts[f"device {number}"]
            assert count == 1 or (count == 0 and f"(NetBox {number})" in ambiguous(snapshot))


@given(any_fleets())
def test_every_member_of_a_pool_is_one_host(fleet: FleetBuilder) -> None:
    snapshot = fleet.snapshot(INTERPRETATION)
    services = snapshot.readings.services
    known = {service.host for service in services.value.services} if services is not None else set()

    for classified in snapshot.aggregates:
        for member in classified.aggregate.hosts if classified.pool is not None else ():
            fitting = [name for name in snapshot.hosts if name.casefold() == member.casefold()]
            assert fitting
            assert member in snapshot.hosts or member not in known


@given(any_fleets())
def test_every_provider_and_server_is_on_one_host_at_most(fleet: FleetBuilder) -> None:
    snapshot = fleet.snapshot(INTERPRETATION)

    providers = Counter(host.resource_provider for host in snapshot.hosts.values())
    servers = Counter(server for host in snapshot.hosts.values() for server in host.server_ids or ())
    assert all(count == 1 for provider, count in providers.items() if provider is not None)
    assert all(count == 1 for count in servers.values())


@given(any_fleets(), st.integers())
def test_the_order_of_what_was_read_is_no_matter(fleet: FleetBuilder, seed: int) -> None:
    readings = fleet.readings()

    one, other = (assemble(r, INTERPRETATION, NOW) for r in (readings, shuffled(readings, Random(seed))))

    assert list(one.hosts.items()) == list(other.hosts.items())
    assert one.contradictions == other.contradictions
    assert [meaning(c) for c in one.aggregates] == [meaning(c) for c in other.aggregates]


def shuffled(readings: Readings, chance: Random) -> Readings:
    def mixed(items: object) -> list:
        return chance.sample(found := list(items), len(found))

    changes: dict[str, Reading] = {}
    if (aggregates := readings.aggregates) is not None:
        value = Aggregates(
            aggregates=tuple(
                replace(a, hosts=tuple(mixed(a.hosts))) for a in mixed(aggregates.value.aggregates)
            )
        )
        changes["aggregates"] = replace(aggregates, value=value)
    if (services := readings.services) is not None:
        value = ComputeServices(services=tuple(mixed(services.value.services)))
        changes["services"] = replace(services, value=value)
    if (servers := readings.servers) is not None:
        value = Servers(servers=dict(mixed(servers.value.servers.items())))
        changes["servers"] = replace(servers, value=value)
    if (gpus := readings.gpus) is not None:
        trees = dict(mixed(gpus.value.trees.items()))
        changes["gpus"] = replace(gpus, value=Gpus(trees=trees, full_read_at=NOW, unread=gpus.value.unread))
    if (netbox := readings.netbox) is not None:
        devices = dict(mixed(netbox.value.devices.items()))
        changes["netbox"] = replace(netbox, value=Inventory(devices=devices))
    return replace(readings, **changes)


def meaning(classified: ClassifiedAggregate) -> tuple[object, ...]:
    return (
        classified.aggregate.name,
        classified.pool,
        classified.gpu_type,
        classified.variant,
        classified.contract,
    )


@given(any_fleets(), st.sampled_from(READ))
def test_no_fact_is_told_by_a_reading_that_is_missing(fleet: FleetBuilder, missing: Source) -> None:
    snapshot = fleet.without(missing).snapshot(INTERPRETATION)

    for host in snapshot.hosts.values():
        assert missing not in host.sources.values()
        for fact in ("server_ids", "gpus", "gpus_used", "netbox_status", "service_status", "out_of_stock"):
            assert (getattr(host, fact) is None) == (fact not in host.sources)


def facts(host: Host) -> dict[str, object]:
    return {fact: getattr(host, fact) for fact in host.sources if fact != "out_of_stock"}


@pytest.mark.parametrize("missing", READ)
@given(fleet=agreeing_fleets())
def test_a_missing_reading_changes_no_fact_but_to_unknown(fleet: FleetBuilder, missing: Source) -> None:
    whole = fleet.snapshot()
    part = fleet.without(missing).snapshot()

    for name, host in part.hosts.items():
        before = facts(whole.hosts[name])
        for fact, value in facts(host).items():
            if fact == "gpu_type":
                assert canonical(str(value)) == canonical(str(before[fact]))
            elif fact in before:
                assert value == before[fact]
            else:
                assert fact == "contract"


@pytest.mark.parametrize("missing", READ)
@given(fleet=agreeing_fleets())
def test_a_missing_reading_makes_no_total_smaller(fleet: FleetBuilder, missing: Source) -> None:
    whole = fleet.snapshot()
    part = fleet.without(missing).snapshot()

    pools = {(t.gpu_type, t.pool): t for t in pool_totals(part) or ()}
    contracts = {(t.contract, t.gpu_type): t for t in contract_totals(part) or ()}
    for before in pool_totals(whole) or ():
        if (after := pools.get((before.gpu_type, before.pool))) is not None and after.is_whole:
            is_not_smaller(before, after, missing)
    for contract in contract_totals(whole) or ():
        if (after := contracts.get((contract.contract, contract.gpu_type))) is not None and after.is_whole:
            is_not_smaller(contract, after, missing)
    counts = {(t.gpu_type, t.reason): t.hosts for t in out_of_stock_totals(part) or () if t.is_whole}
    for count in out_of_stock_totals(whole) or ():
        assert counts.get((count.gpu_type, count.reason), count.hosts) >= count.hosts


def is_not_smaller(before: PoolTotals, after: PoolTotals, missing: Source) -> None:
    assert after.hosts >= before.hosts
    for sum_name in ("free_hosts", "gpus", "gpus_used"):
        after_sum, before_sum = getattr(after, sum_name), getattr(before, sum_name)
        assert after_sum is None or after_sum >= before_sum
    # Without NetBox a failed host may count as for sale: more GPUs, and so another ratio.
    if missing is not Source.NETBOX:
        assert after.utilization_ratio in (None, before.utilization_ratio)


@given(any_fleets(st.text()), st.text(), st.text(), st.text())
def test_no_name_can_stop_it(fleet: FleetBuilder, name: str, other: str, third: str) -> None:
    fleet.aggregate(name, other, metadata={other: third, "spotd:pool": third})
    fleet.server(other, Flavor(name=name, resources=((third, 1),), pci_aliases=((other, 1),)))
    fleet.tree(third, **{name: (1, 1)}).device(name, tags=(other, third), role=third, status=name)

    snapshot = fleet.snapshot(INTERPRETATION)

    assert list(snapshot.hosts) == sorted(snapshot.hosts)
    assert all(name == host.name for name, host in snapshot.hosts.items())
