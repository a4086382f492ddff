"""Joining the readings: who is a GPU host, its pool, its facts and their sources."""

import pytest
from fleets import NOW, FleetBuilder, default_interpretation, gpu_flavor, named_flavor

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import Contradiction, ContradictionKind, FleetSnapshot, OutOfStock, Pool


def told(snapshot: FleetSnapshot) -> list[tuple[ContradictionKind, str]]:
    return [(contradiction.kind, contradiction.host) for contradiction in snapshot.contradictions]


def test_joins_every_source_of_a_host() -> None:
    fleet = (
        FleetBuilder().aggregate("H100-n3-NVLink", "h1", zone="az-1").tree("h1.cloud", CUSTOM_GPU_H100=(8, 4))
    )
    fleet.service("h1", status="disabled", disabled_reason="fans", zone="nova")
    fleet.server("h1", gpu_flavor(4), id="b", hypervisor_hostname="h1.cloud")
    fleet.device("H1", tenant="acme", tenant_group="owners", site="s1", rack="r1", nvlink=False, gpu_count=8)

    host = fleet.snapshot().hosts["h1"]

    assert (host.gpu_type, host.pool, host.pools, host.variant) == (
        "H100",
        Pool.ONDEMAND,
        (Pool.ONDEMAND,),
        "NVLink",
    )
    assert (host.aggregates, host.contract) == (("H100-n3-NVLink",), None)
    assert (host.hypervisor_hostname, host.resource_provider) == ("h1.cloud", "provider-h1.cloud")
    assert (host.gpus, host.gpus_used, host.server_ids) == (8, 4, ("b",))
    assert (host.service_status, host.service_state, host.disabled_reason) == ("disabled", "up", "fans")
    assert (host.netbox_status, host.tenant, host.owner_group) == ("active", "acme", "owners")
    assert (host.site, host.rack, host.nvlink, host.availability_zone) == ("s1", "r1", False, "nova")
    assert host.out_of_stock is OutOfStock.SERVICE_DISABLED


def test_tells_the_source_of_each_known_fact_and_of_no_other() -> None:
    fleet = FleetBuilder().host("h1", "H100-n3", servers=(1,), netbox="active")

    sources = fleet.snapshot().hosts["h1"].sources

    assert sources == {
        "pool": Source.AGGREGATES,
        "pools": Source.AGGREGATES,
        "aggregates": Source.AGGREGATES,
        "service_status": Source.SERVICES,
        "service_state": Source.SERVICES,
        "server_ids": Source.SERVERS,
        "hypervisor_hostname": Source.SERVERS,
        "resource_provider": Source.GPUS,
        "netbox_status": Source.NETBOX,
        "gpu_type": Source.AGGREGATES,
        "gpus": Source.GPUS,
        "gpus_used": Source.GPUS,
        "gpus_reserved": Source.GPUS,
        "is_allocated": Source.GPUS,
    }


def test_hosts_told_by_the_same_sources_share_the_mapping() -> None:
    hosts = FleetBuilder().host("h1", "H100-n3").host("h2", "H100-n3").snapshot().hosts

    assert hosts["h1"].sources is hosts["h2"].sources


def test_hosts_come_in_the_order_of_their_names() -> None:
    fleet = FleetBuilder().host("h2", "H100-n3").host("h10", "H100-n3").host("H1", "H100-n3")

    assert list(fleet.snapshot().hosts) == ["H1", "h10", "h2"]


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        pytest.param(FleetBuilder().service("h").aggregate("H100-n3", "h"), ["h"], id="in a pool"),
        pytest.param(FleetBuilder().service("h").aggregate("tempest", "h"), ["h"], id="in testing"),
        pytest.param(FleetBuilder().service("h").tree("h", VGPU=(8, 0)), ["h"], id="GPU class"),
        pytest.param(FleetBuilder().service("h").tree("h", VCPU=(8, 0)), [], id="another class"),
        pytest.param(FleetBuilder().service("h").device("h", gpu_count=8), ["h"], id="GPUs in NetBox"),
        pytest.param(FleetBuilder().service("h").device("h", gpu_count=0), [], id="no GPUs in NetBox"),
        pytest.param(
            FleetBuilder().service("h").device("h", gpu_count=-1), [], id="less than none in NetBox"
        ),
        pytest.param(FleetBuilder().device("h", tags=("h100",)).aggregate("H100-n3"), ["h"], id="GPU tag"),
        pytest.param(FleetBuilder().device("h", tags=("web",), role="web"), [], id="another tag and role"),
        pytest.param(FleetBuilder().device("h", role="gpu"), ["h"], id="GPU role"),
        pytest.param(FleetBuilder().service("h").server("h", gpu_flavor(1)), ["h"], id="servers with GPUs"),
        pytest.param(FleetBuilder().service("h").server("h", named_flavor("cpu")), [], id="servers without"),
        pytest.param(
            FleetBuilder().service("h").server("h", named_flavor("cpu-x4")), [], id="four of anything"
        ),
        pytest.param(
            FleetBuilder().host("g", "H100-n3").service("h").server("h", named_flavor("n3-h100x4")),
            ["g", "h"],
            id="a flavor named after a known GPU type",
        ),
        pytest.param(
            FleetBuilder().host("g", "A40-n3").service("h").server("h", named_flavor("ma40x4")),
            ["g"],
            id="a flavor whose name only holds the letters of a type",
        ),
        pytest.param(FleetBuilder().service("h").aggregate("az-1", "h"), [], id="in a zone"),
        pytest.param(
            FleetBuilder().service("h").aggregate("x", "h", metadata={"spotd:pool": "?"}), ["h"], id="?"
        ),
    ],
)
def test_knows_a_gpu_host_by_any_sign(fleet: FleetBuilder, expected: list[str]) -> None:
    snapshot = fleet.snapshot(default_interpretation(gpu_roles=frozenset({"gpu"})))

    assert list(snapshot.hosts) == expected


@pytest.mark.parametrize(
    ("fleet", "reason", "source"),
    [
        pytest.param(FleetBuilder().host("h", "H100-n3"), None, None, id="for sale"),
        pytest.param(
            FleetBuilder().host("h", "tempest", netbox="failed"),
            OutOfStock.NETBOX_STATUS,
            Source.NETBOX,
            id="NetBox first",
        ),
        pytest.param(
            FleetBuilder().device("h", gpu_count=8),
            OutOfStock.NO_COMPUTE_SERVICE,
            Source.SERVICES,
            id="only in NetBox",
        ),
        pytest.param(
            FleetBuilder().aggregate("H100-n3", "h"),
            OutOfStock.NO_COMPUTE_SERVICE,
            Source.SERVICES,
            id="only in an aggregate",
        ),
        pytest.param(
            FleetBuilder().host("h", "tempest", "H100-n3", status="disabled"),
            OutOfStock.TESTING,
            Source.AGGREGATES,
            id="testing before a pool",
        ),
        pytest.param(FleetBuilder().host("h"), OutOfStock.NO_POOL, Source.AGGREGATES, id="no pool"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", "H100-n3-spot", state="down"),
            OutOfStock.SEVERAL_POOLS,
            Source.AGGREGATES,
            id="two pools",
        ),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", status="disabled", state="down"),
            OutOfStock.SERVICE_DISABLED,
            Source.SERVICES,
            id="disabled",
        ),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", state="down"),
            OutOfStock.SERVICE_DOWN,
            Source.SERVICES,
            id="down",
        ),
    ],
)
def test_gives_the_first_reason_for_being_out_of_stock(
    fleet: FleetBuilder, reason: OutOfStock | None, source: Source | None
) -> None:
    host = fleet.snapshot().hosts["h"]

    assert (host.out_of_stock, host.sources.get("out_of_stock")) == (reason, source)


@pytest.mark.parametrize(
    ("fleet", "missing"),
    [
        pytest.param(FleetBuilder().host("h", netbox="active"), Source.AGGREGATES, id="no pool"),
        pytest.param(FleetBuilder().device("h", gpu_count=8), Source.SERVICES, id="no compute service"),
        pytest.param(FleetBuilder().host("h", "H100-n3", state="down"), Source.SERVICES, id="down"),
        pytest.param(FleetBuilder().host("h", "H100-n3", netbox="failed"), Source.NETBOX, id="netbox status"),
    ],
)
def test_claims_no_reason_that_a_missing_reading_would_tell(fleet: FleetBuilder, missing: Source) -> None:
    if missing is Source.SERVICES:
        fleet.aggregate("H100-n3", "h")

    assert fleet.without(missing).snapshot().hosts["h"].out_of_stock is None


def test_servers_are_unknown_without_their_reading_and_none_where_there_are_none() -> None:
    fleet = FleetBuilder().host("h", "H100-n3")

    known = fleet.snapshot().hosts["h"].server_ids
    unknown = fleet.without(Source.SERVERS).snapshot().hosts["h"].server_ids

    assert (known, unknown) == ((), None)


def test_servers_are_sorted_and_deleted_or_hostless_ones_are_on_no_host() -> None:
    fleet = FleetBuilder().host("h", "H100-n3", gpus=None)
    fleet.server("h", id="b").server("h", id="a").server("h", id="c", status="DELETED").server(None, id="d")

    host = fleet.snapshot().hosts["h"]

    assert (host.server_ids, host.gpus_used) == (("a", "b"), 2)


def test_two_pools_contradict_and_the_host_has_neither() -> None:
    snapshot = FleetBuilder().host("h", "H100-n3-spot", "H100-n3").snapshot()

    host = snapshot.hosts["h"]

    assert (host.pool, host.pools) == (None, (Pool.ONDEMAND, Pool.SPOT))
    assert told(snapshot) == [(ContradictionKind.SEVERAL_POOLS, "h")]


def test_testing_and_a_pool_is_testing_and_a_contradiction() -> None:
    snapshot = FleetBuilder().host("h", "tempest", "H100-n3").snapshot()

    assert snapshot.hosts["h"].out_of_stock is OutOfStock.TESTING
    assert told(snapshot) == [(ContradictionKind.SEVERAL_POOLS, "h")]


@pytest.mark.parametrize(
    "aggregates",
    [
        pytest.param(("H100-n3", "A100-n3"), id="two GPU types"),
        pytest.param(("Contract-ACME-8xH100", "Contract-INITECH-8xH100"), id="two contracts"),
    ],
)
def test_one_pool_of_two_kinds_is_several_pools(aggregates: tuple[str, ...]) -> None:
    host = FleetBuilder().host("h", *aggregates).snapshot().hosts["h"]

    assert (host.out_of_stock, host.pool, host.contract) == (OutOfStock.SEVERAL_POOLS, None, None)


def test_two_variants_of_one_pool_are_fine() -> None:
    fleet = FleetBuilder().host("h", "H100-n3", "H100-n4-NVLink", "H100-n3-NVLink", "az-1")

    snapshot = fleet.snapshot()

    assert (snapshot.hosts["h"].variant, snapshot.hosts["h"].out_of_stock) == ("NVLink", None)
    assert snapshot.contradictions == ()


def test_a_contract_host_has_its_contract() -> None:
    host = FleetBuilder().host("h", "Contract-ACME-16xH100").snapshot().hosts["h"]

    assert (host.pool, host.contract) == (Pool.CONTRACT, "ACME")


def test_an_unknown_pool_is_kept_as_a_contradiction_about_the_aggregate() -> None:
    snapshot = FleetBuilder().aggregate("H100-n3", metadata={"spotd:pool": "spto"}).snapshot()

    assert snapshot.contradictions == (
        Contradiction(
            kind=ContradictionKind.UNKNOWN_POOL,
            host="",
            aggregate="H100-n3",
            detail="its metadata names a pool 'spto', which does not exist",
        ),
    )


def test_the_availability_zone_of_the_aggregates_stands_in_for_the_services() -> None:
    fleet = FleetBuilder().aggregate("H100-n3", "h", zone="az-1").aggregate("x", "i", zone="az-2")
    fleet.aggregate("A100-n3", "i", zone="az-1")

    hosts = fleet.snapshot().hosts

    assert (hosts["h"].availability_zone, hosts["i"].availability_zone) == ("az-1", None)


def test_nothing_is_known_without_any_reading() -> None:
    snapshot = FleetBuilder().host("h", "H100-n3", netbox="active").without(*Source).snapshot()

    assert (dict(snapshot.hosts), snapshot.aggregates, snapshot.contradictions) == ({}, (), ())
    assert snapshot.assembled_at == NOW


def test_the_reading_of_each_source_can_be_asked_for() -> None:
    readings = FleetBuilder().without(Source.NETBOX).readings()

    assert readings.of(Source.NETBOX) is None
    assert readings.of(Source.CONFIGURATION) is None
    assert readings.of(Source.GPUS) is readings.gpus
