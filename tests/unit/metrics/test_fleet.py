"""What is exposed of a snapshot."""

from dataclasses import replace
from types import MappingProxyType

import pytest
from fleets import NOW, FleetBuilder
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ContradictionKind, FleetSnapshot, Host, OutOfStock
from spotd.metrics import fleet_names as names
from spotd.metrics.fleet import FleetCollector
from spotd.metrics.fleet_sums import COMPARED_READINGS

ON_DEMAND = {"gpu_type": "H100", "pool": "ondemand"}


def registry_of(snapshot: FleetSnapshot | None) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: snapshot))
    return registry


def value(snapshot: FleetSnapshot, name: str, **labels: str) -> float | None:
    return registry_of(snapshot).get_sample_value(name, labels)


def exposed_names(snapshot: FleetSnapshot | None) -> set[str]:
    return {sample.name for family in registry_of(snapshot).collect() for sample in family.samples}


def fleet() -> FleetBuilder:
    """One busy and one free host."""
    return (
        FleetBuilder()
        .host("a", "H100-n3", servers=(6,), netbox="active")
        .host("b", "H100-n3", netbox="active")
    )


def test_nothing_is_exposed_before_the_first_snapshot() -> None:
    assert exposed_names(None) == set()


def test_a_host_tells_its_gpus_its_servers_and_their_ratio() -> None:
    snapshot = fleet().snapshot()

    labels = {"host": "a", "pool": "ondemand", "gpu_type": "H100"}
    assert value(snapshot, "spotd_host_gpus", **labels) == 8
    assert value(snapshot, "spotd_host_gpus_used", **labels) == 6
    assert value(snapshot, "spotd_host_gpu_utilization_ratio", **labels) == 0.75
    assert value(snapshot, "spotd_host_servers", **labels) == 1


def test_a_known_zero_is_exported_as_zero() -> None:
    labels = {"host": "b", "pool": "ondemand", "gpu_type": "H100"}
    snapshot = fleet().snapshot()

    assert value(snapshot, "spotd_host_gpus_used", **labels) == 0
    assert value(snapshot, "spotd_host_servers", **labels) == 0


def test_a_pool_sums_its_hosts() -> None:
    snapshot = fleet().snapshot()

    assert value(snapshot, "spotd_pool_hosts", **ON_DEMAND) == 2
    assert value(snapshot, "spotd_pool_free_hosts", **ON_DEMAND) == 1
    assert value(snapshot, "spotd_pool_gpus", **ON_DEMAND) == 16
    assert value(snapshot, "spotd_pool_gpus_used", **ON_DEMAND) == 6
    assert value(snapshot, "spotd_pool_gpu_utilization_ratio", **ON_DEMAND) == 0.375


def test_a_gpu_type_sums_its_pools() -> None:
    snapshot = fleet().host("c", "H100-n3-spot", servers=(8,), netbox="active").snapshot()

    assert value(snapshot, "spotd_gpu_type_gpus", gpu_type="H100") == 24
    assert value(snapshot, "spotd_gpu_type_gpus_used", gpu_type="H100") == 14
    assert value(snapshot, "spotd_gpu_type_utilization_ratio", gpu_type="H100") == pytest.approx(14 / 24)


def test_a_contract_sums_its_hosts() -> None:
    snapshot = FleetBuilder().host("c", "Contract-acme-1xH100", servers=(4,), netbox="active").snapshot()

    labels = {"contract": "acme", "gpu_type": "H100"}
    assert value(snapshot, "spotd_contract_hosts", **labels) == 1
    assert value(snapshot, "spotd_contract_gpus", **labels) == 8
    assert value(snapshot, "spotd_contract_gpu_utilization_ratio", **labels) == 0.5


def test_every_reason_for_being_out_of_stock_is_exported_for_each_gpu_type() -> None:
    snapshot = fleet().host("d", "H100-n3", status="disabled", netbox="active").snapshot()

    told = {
        reason: value(snapshot, "spotd_out_of_stock_hosts", gpu_type="H100", reason=reason)
        for reason in OutOfStock
    }
    assert told == {reason: float(reason is OutOfStock.SERVICE_DISABLED) for reason in OutOfStock}


def test_every_kind_of_contradiction_is_exported_as_zero_when_there_is_none() -> None:
    snapshot = fleet().snapshot()

    told = {kind: value(snapshot, "spotd_contradictions", kind=kind) for kind in ContradictionKind}
    assert told == dict.fromkeys(ContradictionKind, 0)


def test_every_kind_of_contradiction_names_the_readings_it_compares() -> None:
    assert set(COMPARED_READINGS) == set(ContradictionKind)


def test_a_host_in_an_aggregate_that_is_no_pool_tells_its_membership() -> None:
    snapshot = fleet().aggregate("zone-1", "a").snapshot()

    assert value(snapshot, "spotd_host_aggregate_info", host="a", aggregate="zone-1") == 1
    assert value(snapshot, "spotd_host_aggregate_info", host="a", aggregate="H100-n3") == 1


def test_compute_services_are_counted_in_every_combination() -> None:
    snapshot = fleet().host("d", "H100-n3", state="down").snapshot()

    assert value(snapshot, "spotd_compute_services", status="enabled", state="up") == 2
    assert value(snapshot, "spotd_compute_services", status="enabled", state="down") == 1
    assert value(snapshot, "spotd_compute_services", status="disabled", state="up") == 0


@pytest.mark.parametrize(
    ("missing", "absent"),
    [
        (Source.SERVERS, {"spotd_host_servers", "spotd_fleet_servers", "spotd_fleet_hosts"}),
        (Source.SERVICES, {"spotd_compute_services", "spotd_pool_hosts", "spotd_out_of_stock_hosts"}),
        (
            Source.AGGREGATES,
            {"spotd_host_aggregate_info", "spotd_pool_hosts", "spotd_pool_gpus", "spotd_gpu_type_gpus"},
        ),
        (Source.NETBOX, {"spotd_fleet_hosts"}),
    ],
)
def test_what_a_missing_reading_would_tell_is_absent_and_not_zero(missing: Source, absent: set[str]) -> None:
    assert exposed_names(fleet().snapshot()) >= absent

    exposed = exposed_names(fleet().without(missing).snapshot())

    assert exposed & absent == set()


def test_gpus_are_absent_where_no_source_tells_them() -> None:
    builder = FleetBuilder().host("a", "H100-n3", gpus=None).without(Source.GPUS)

    exposed = exposed_names(builder.snapshot())

    assert exposed.isdisjoint({"spotd_host_gpus", "spotd_pool_gpus", "spotd_gpu_type_gpus"})
    assert "spotd_pool_hosts" in exposed


def test_a_pool_with_hosts_of_unknown_use_says_how_many() -> None:
    snapshot = FleetBuilder().host("a", "H100-n3", gpus=None).without(Source.SERVERS, Source.GPUS).snapshot()

    assert value(snapshot, "spotd_pool_hosts_unknown", fact="gpus", **ON_DEMAND) == 1
    assert value(snapshot, "spotd_pool_hosts_unknown", fact="free", **ON_DEMAND) == 1
    assert value(snapshot, "spotd_pool_free_hosts", **ON_DEMAND) is None


def test_a_contradiction_that_cannot_be_looked_for_is_absent() -> None:
    snapshot = fleet().without(Source.SERVERS).snapshot()

    assert value(snapshot, "spotd_contradictions", kind="gpus_used") is None
    assert value(snapshot, "spotd_contradictions", kind="several_pools") == 0


def test_only_readings_that_are_there_tell_their_time() -> None:
    snapshot = fleet().without(Source.NETBOX).snapshot()

    assert value(snapshot, "spotd_reading_timestamp_seconds", source="servers") == NOW.timestamp()
    assert value(snapshot, "spotd_reading_timestamp_seconds", source="netbox") is None


def test_hosts_that_vanish_take_their_series_along() -> None:
    snapshots = [fleet().snapshot()]
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: snapshots[-1]))
    assert b'host="b"' in generate_latest(registry)

    snapshots.append(FleetBuilder().host("a", "H100-n3").snapshot())

    assert b'host="b"' not in generate_latest(registry)


@pytest.mark.parametrize(
    "name",
    [
        'quo"te',
        "back\\slash",
        "new\nline",
        "return\rhere",
        "tab\there",
        "x" * 1000,
        "ümläut-主机",
        "}{,=#",
        "a\\nb",
    ],
)
def test_any_name_of_a_host_survives_the_exposition(name: str) -> None:
    text = generate_latest(registry_of(FleetBuilder().host(name, "H100-n3").snapshot())).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["spotd_host_gpus"].samples[0].labels["host"] == name


@pytest.mark.parametrize("name", ["lone \ud800 surrogate", "nul \0 byte"])
def test_characters_that_no_exposition_can_hold_are_replaced(name: str) -> None:
    text = generate_latest(registry_of(FleetBuilder().host(name, "H100-n3").snapshot())).decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["spotd_host_gpus"].samples[0].labels["host"].startswith(name.split(" ", maxsplit=1)[0])


def test_samples_with_equal_labels_are_dropped_and_counted_once_per_snapshot() -> None:
    snapshot = fleet().snapshot()
    twin = Host(name="a", gpu_type="H100", gpus=1)
    doubled = replace(snapshot, hosts=MappingProxyType({**snapshot.hosts, "twin": twin, "again": twin}))
    counts: list[int] = []
    collector = FleetCollector(lambda: doubled, counts.append)

    for _ in range(2):
        samples = [
            tuple(s.labels.items())
            for f in collector.collect()
            if f.name == "spotd_host_gpus"
            for s in f.samples
        ]
        assert len(samples) == len(set(samples))

    assert counts == [3]  # information, number of GPUs, number of pools


def test_describe_names_exactly_the_table() -> None:
    described = {family.name for family in FleetCollector(lambda: None).describe()}

    assert described == {description.name for description in names.FLEET_METRICS}


def test_gpus_that_wait_to_be_cleaned_are_counted_by_themselves() -> None:
    builder = FleetBuilder().host("a", "H100-n3", gpus=6, servers=(4,)).device("a", gpu_count=8)
    builder.host("b", "H100-n3", gpus=None, netbox="active").reserved("a", CUSTOM_GPU_H100=2)

    snapshot = builder.snapshot()

    labels = {"host": "a", **ON_DEMAND}
    assert value(snapshot, "spotd_host_gpus", **labels) == 6
    assert value(snapshot, "spotd_host_gpus_reserved", **labels) == 2
    assert value(snapshot, "spotd_host_gpus_reserved", host="b", **ON_DEMAND) is None
    assert value(snapshot, "spotd_pool_gpus_reserved", **ON_DEMAND) == 2
    assert value(snapshot, "spotd_contradictions", kind="gpu_count") == 0


def test_what_a_host_uses_beyond_its_gpus_hides_no_free_gpu_of_another() -> None:
    builder = FleetBuilder().unconfigured(Source.NETBOX)
    snapshot = builder.host("a", "H100-n3", gpus=4, servers=(12,)).host("b", "H100-n3", gpus=4).snapshot()

    assert value(snapshot, "spotd_host_gpu_utilization_ratio", host="a", **ON_DEMAND) == 1.0
    assert value(snapshot, "spotd_host_gpus_used", host="a", **ON_DEMAND) == 12
    assert value(snapshot, "spotd_pool_gpu_utilization_ratio", **ON_DEMAND) == 0.5
    assert value(snapshot, "spotd_gpu_type_utilization_ratio", gpu_type="H100") == 0.5
    assert value(snapshot, "spotd_contradictions", kind="overcommitted") == 1
