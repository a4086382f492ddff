"""Sums by pool and contract, and hosts out of stock."""

import pytest
from fleets import FleetBuilder, named_flavor

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot, OutOfStock, Pool
from spotd.fleet.totals import (
    ContractTotals,
    OutOfStockTotals,
    PoolTotals,
    contract_totals,
    out_of_stock_totals,
    pool_totals,
)


def pool_of(snapshot: FleetSnapshot, gpu_type: str = "H100", pool: Pool = Pool.ONDEMAND) -> PoolTotals:
    (found,) = [t for t in pool_totals(snapshot) or () if (t.gpu_type, t.pool) == (gpu_type, pool)]
    return found


def reasons(snapshot: FleetSnapshot) -> dict[tuple[str, OutOfStock], OutOfStockTotals]:
    return {(totals.gpu_type, totals.reason): totals for totals in out_of_stock_totals(snapshot) or ()}


def test_sums_up_the_hosts_for_sale() -> None:
    fleet = FleetBuilder().host("a", "H100-n3", servers=(8,)).host("b", "H100-n3").host("c", "H100-n3-NVLink")
    fleet.host("d", "H100-n3", status="disabled")

    assert pool_totals(fleet.unconfigured(Source.NETBOX).snapshot()) == (
        PoolTotals(
            gpu_type="H100",
            pool=Pool.ONDEMAND,
            hosts=3,
            free_hosts=2,
            unknown_hosts=0,
            gpus=24,
            gpus_used=8,
            hosts_with_unknown_gpus=0,
            utilization_ratio=8 / 24,
            is_whole=True,
        ),
    )


def test_an_empty_pool_has_true_zeros_and_a_testing_aggregate_is_no_pool() -> None:
    fleet = FleetBuilder().aggregate("H100-n3-spot").aggregate("tempest").aggregate("az-1")

    (totals,) = pool_totals(fleet.snapshot()) or ()

    assert (totals.gpu_type, totals.pool, totals.hosts, totals.free_hosts) == ("H100", Pool.SPOT, 0, 0)
    assert (totals.gpus, totals.gpus_used, totals.utilization_ratio) == (0, 0, None)


def test_a_host_of_unknown_type_is_in_the_pool_of_unknown_type() -> None:
    fleet = FleetBuilder().service("h").aggregate("x", "h", metadata={"spotd:pool": "spot"})

    assert pool_of(fleet.snapshot(), "unknown", Pool.SPOT).hosts == 1


@pytest.mark.parametrize("missing", [Source.AGGREGATES, Source.SERVICES])
def test_no_totals_are_known_without_aggregates_or_services(missing: Source) -> None:
    snapshot = FleetBuilder().host("h", "H100-n3").without(missing).snapshot()

    assert (pool_totals(snapshot), contract_totals(snapshot), out_of_stock_totals(snapshot)) == (
        None,
        None,
        None,
    )


def test_a_host_with_an_allocation_and_no_server_is_not_free() -> None:
    fleet = FleetBuilder().host("ghost", "H100-n3", used=1)

    assert pool_of(fleet.snapshot()).free_hosts == 0


def test_nobody_is_free_for_sure_while_the_servers_are_unknown() -> None:
    fleet = FleetBuilder().host("a", "H100-n3", servers=(1,)).host("b", "H100-n3").without(Source.SERVERS)

    totals = pool_of(fleet.snapshot())

    assert (totals.free_hosts, totals.unknown_hosts) == (None, 1)


def test_sums_leave_out_hosts_that_nobody_can_count() -> None:
    fleet = FleetBuilder().host("a", "H100-n3", servers=(2,)).host("b", "H100-n3", gpus=None, servers=(4,))

    totals = pool_of(fleet.unconfigured(Source.NETBOX).snapshot())

    assert (totals.gpus, totals.gpus_used, totals.hosts_with_unknown_gpus) == (8, 6, 1)
    assert totals.utilization_ratio == 2 / 8


@pytest.mark.parametrize(
    "missing", [pytest.param(Source.NETBOX, id="NetBox"), pytest.param(Source.GPUS, id="Placement")]
)
def test_sums_are_unknown_while_a_missing_reading_could_add_to_them(missing: Source) -> None:
    fleet = FleetBuilder().host("a", "H100-n3").host("b", "H100-n3", gpus=None).without(missing)

    totals = pool_of(fleet.snapshot())

    assert (totals.hosts, totals.gpus, totals.utilization_ratio) == (2, None, None)


def test_a_pool_is_not_whole_while_a_missing_reading_could_tell_a_hosts_type() -> None:
    fleet = FleetBuilder().aggregate("H100-n3-spot").aggregate("A100-n3")
    fleet.host("h", "x").aggregate("x", metadata={"spotd:pool": "spot"}).without(Source.GPUS)

    snapshot = fleet.snapshot()

    assert not pool_of(snapshot, "H100", Pool.SPOT).is_whole
    assert pool_of(snapshot, "A100").is_whole


def test_sums_up_contracts() -> None:
    fleet = FleetBuilder().host("h", "Contract-ACME-16xH100", servers=(8,)).aggregate("Contract-B-8xL40")
    fleet.host("i", "H100-n3").host("j", "x", gpus=None).aggregate("x", metadata={"spotd:pool": "contract"})

    totals = contract_totals(fleet.unconfigured(Source.NETBOX).snapshot()) or ()

    assert [(t.contract, t.gpu_type, t.hosts, t.gpus, t.gpus_used) for t in totals] == [
        ("ACME", "H100", 1, 8, 8),
        ("B", "L40", 0, 0, 0),
        ("unknown", "unknown", 1, 0, 0),
    ]
    assert isinstance(totals[0], ContractTotals)


def test_counts_hosts_out_of_stock_for_each_type_and_reason() -> None:
    fleet = FleetBuilder().host("a", netbox="active").host("b", "H100-n3", state="down").aggregate("L40-n3")

    counts = {key: totals.hosts for key, totals in reasons(fleet.snapshot()).items()}

    assert counts[("H100", OutOfStock.NO_POOL)] == 1
    assert counts[("H100", OutOfStock.SERVICE_DOWN)] == 1
    assert sum(counts.values()) == 2
    assert counts.keys() == {(gpu_type, reason) for gpu_type in ("H100", "L40") for reason in OutOfStock}


@pytest.mark.parametrize(
    ("fleet", "not_whole"),
    [
        pytest.param(FleetBuilder().host("h"), set(), id="all there"),
        pytest.param(
            FleetBuilder().host("h").without(Source.SERVERS),
            {
                OutOfStock.NETBOX_STATUS,
                OutOfStock.NO_COMPUTE_SERVICE,
                OutOfStock.BARE_METAL,
                OutOfStock.NO_POOL,
            },
            id="servers missing",
        ),
        pytest.param(
            FleetBuilder().host("h").unread("x"),
            {
                OutOfStock.NETBOX_STATUS,
                OutOfStock.NO_COMPUTE_SERVICE,
                OutOfStock.BARE_METAL,
                OutOfStock.NO_POOL,
            },
            id="a tree unread",
        ),
        pytest.param(
            FleetBuilder().host("h").unconfigured(Source.NETBOX), {OutOfStock.NETBOX_STATUS}, id="no NetBox"
        ),
        pytest.param(
            FleetBuilder().host("h", "tempest").without(Source.GPUS).aggregate("H100-n3"),
            {
                OutOfStock.NETBOX_STATUS,
                OutOfStock.NO_COMPUTE_SERVICE,
                OutOfStock.BARE_METAL,
                OutOfStock.NO_POOL,
                OutOfStock.TESTING,
            },
            id="a type missing",
        ),
    ],
)
def test_says_which_reasons_a_missing_reading_could_add_to(
    fleet: FleetBuilder, not_whole: set[OutOfStock]
) -> None:
    found = reasons(fleet.snapshot())

    assert {
        reason for (gpu_type, reason), totals in found.items() if gpu_type == "H100" and not totals.is_whole
    } == (not_whole)


@pytest.mark.parametrize(
    ("fleet", "is_empty"),
    [
        pytest.param(FleetBuilder().host("h", "H100-n3"), True, id="nobody on it"),
        pytest.param(FleetBuilder().host("h", "H100-n3", servers=(1,)), False, id="a server"),
        pytest.param(FleetBuilder().host("h", "H100-n3", used=1), False, id="a GPU in use"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).tree("h", VCPU=(64, 4)),
            False,
            id="processors in use on a host without a GPU class",
        ),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).tree("h", VCPU=(64, 0)),
            True,
            id="no GPU class and nothing in use",
        ),
        pytest.param(FleetBuilder().host("h", "H100-n3", gpus=None), True, id="no provider left to be its"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).tree("stranger", VCPU=(64, 0)),
            True,
            id="no provider, and the one of no host is idle",
        ),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).tree("stranger", VCPU=(64, 4)),
            None,
            id="no provider, and one in use is of no host",
        ),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).unread("other"), None, id="no provider, one unread"
        ),
        pytest.param(FleetBuilder().host("h", "H100-n3").unread("h"), None, id="its tree is unread"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", gpus=None).without(Source.GPUS), None, id="no Placement"
        ),
        pytest.param(FleetBuilder().host("h", "H100-n3").without(Source.SERVERS), None, id="no Nova"),
        pytest.param(
            FleetBuilder().host("h", "H100-n3", servers=(1,)).without(Source.GPUS), False, id="a server known"
        ),
        pytest.param(
            FleetBuilder()
            .host("h", "H100-n3", gpus=None)
            .server("h", named_flavor("x", extra_specs_known=False)),
            False,
            id="a server of unknown size",
        ),
    ],
)
def test_a_host_is_empty_where_nova_and_placement_both_say_so(
    fleet: FleetBuilder, is_empty: bool | None
) -> None:
    snapshot = fleet.unconfigured(Source.NETBOX).snapshot()

    assert snapshot.hosts["h"].is_empty is is_empty
    free = {True: 1, False: 0, None: None}[is_empty]
    assert pool_of(snapshot).free_hosts == free
