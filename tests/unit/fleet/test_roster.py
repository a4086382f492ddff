"""Who is who: one name for each host, and nothing joined by a guess."""

import pytest
from fleets import FleetBuilder, default_interpretation, named_flavor

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import ContradictionKind, FleetSnapshot, OutOfStock, Pool


def told(snapshot: FleetSnapshot) -> list[tuple[ContradictionKind, str]]:
    return [(contradiction.kind, contradiction.host) for contradiction in snapshot.contradictions]


def test_an_aggregate_that_spells_a_host_in_another_case_names_the_same_host() -> None:
    snapshot = FleetBuilder().host("Gpu-1").aggregate("H100-n3", "gpu-1").snapshot()

    assert {name: host.pool for name, host in snapshot.hosts.items()} == {"Gpu-1": Pool.ONDEMAND}


def test_an_aggregate_that_fits_two_services_by_case_names_neither() -> None:
    snapshot = FleetBuilder().service("GPU").service("gpu").aggregate("H100-n3", "Gpu").snapshot()

    assert {name: host.out_of_stock for name, host in snapshot.hosts.items()} == {
        "Gpu": OutOfStock.NO_COMPUTE_SERVICE
    }


def test_the_record_that_keeps_a_host_out_of_sale_counts_where_a_service_comes_twice() -> None:
    fleet = FleetBuilder().aggregate("H100-n3", "h").service("h", status="disabled").service("h")

    assert fleet.snapshot().hosts["h"].out_of_stock is OutOfStock.SERVICE_DISABLED


def test_servers_on_a_host_without_a_service_are_kept_as_a_contradiction() -> None:
    snapshot = FleetBuilder().service("other").server("ghost", named_flavor("cpu")).snapshot()

    assert told(snapshot) == [(ContradictionKind.UNKNOWN_HOST, "ghost")]


def test_an_aggregate_member_without_a_service_is_kept_as_a_contradiction() -> None:
    snapshot = FleetBuilder().aggregate("H100-n3", "ghost").snapshot()

    assert told(snapshot) == [(ContradictionKind.NO_COMPUTE_SERVICE, "ghost")]


def test_nobody_is_a_stranger_while_the_services_are_unknown() -> None:
    fleet = FleetBuilder().aggregate("H100-n3", "ghost").server("ghost").tree("x", VGPU=(8, 0))

    assert fleet.without(Source.SERVICES).snapshot().contradictions == ()


def test_a_provider_with_gpus_that_fits_no_host_is_kept_as_a_contradiction() -> None:
    snapshot = FleetBuilder().service("h").tree("x", VGPU=(8, 0)).tree("y", VCPU=(8, 0)).snapshot()

    assert told(snapshot) == [(ContradictionKind.UNKNOWN_PROVIDER, "x")]


def test_the_hypervisor_that_servers_name_goes_before_the_name() -> None:
    fleet = FleetBuilder().service("a").service("b").aggregate("H100-n3", "a", "b")
    fleet.tree("a", CUSTOM_GPU_H100=(4, 0)).tree("b", CUSTOM_GPU_H100=(8, 1))
    fleet.server("a", hypervisor_hostname="b")

    hosts = fleet.snapshot().hosts

    assert (hosts["a"].gpus, hosts["b"].gpus) == (8, None)


def test_a_hypervisor_that_placement_does_not_know_is_unknown() -> None:
    fleet = FleetBuilder().aggregate("H100-n3", "a").service("a").tree("a", CUSTOM_GPU_H100=(8, 0))
    fleet.server("a", hypervisor_hostname="elsewhere")

    host = fleet.snapshot().hosts["a"]

    assert (host.hypervisor_hostname, host.resource_provider, host.gpus) == ("elsewhere", None, None)


@pytest.mark.parametrize(
    ("fleet", "ambiguous"),
    [
        pytest.param(
            FleetBuilder().host("n.a", gpus=None).host("n.b", gpus=None).tree("n", VGPU=(8, 0)),
            ["n.a", "n.b"],
            id="two hosts for one provider",
        ),
        pytest.param(
            FleetBuilder()
            .host("a", "H100-n3", gpus=None)
            .host("b", "H100-n3", gpus=None)
            .server("a", hypervisor_hostname="x")
            .server("b", hypervisor_hostname="x")
            .tree("x", VGPU=(8, 0)),
            ["a", "b"],
            id="two hosts whose servers name one hypervisor",
        ),
        pytest.param(
            FleetBuilder()
            .host("a", "H100-n3", gpus=None)
            .server("a", hypervisor_hostname="x")
            .server("a", hypervisor_hostname="y")
            .tree("x", VGPU=(8, 0)),
            ["a"],
            id="servers that name two hypervisors",
        ),
        pytest.param(
            FleetBuilder().host("n", gpus=None).device("n", gpu_count=8).device("n", gpu_count=4),
            ["n"],
            id="two devices of one name",
        ),
    ],
)
def test_an_ambiguous_name_joins_nothing_and_hides_no_gpu_host(
    fleet: FleetBuilder, ambiguous: list[str]
) -> None:
    snapshot = fleet.snapshot()

    assert told(snapshot) == [(ContradictionKind.AMBIGUOUS_NAME, name) for name in ambiguous]
    assert {name: host.gpus for name, host in snapshot.hosts.items()} == dict.fromkeys(ambiguous)


def test_two_devices_of_one_name_that_nova_does_not_know_are_two_hosts() -> None:
    fleet = (
        FleetBuilder().device("n", gpu_count=8).device("n", gpu_count=4).device("n (NetBox 1)", gpu_count=2)
    )

    snapshot = fleet.snapshot()

    assert {name: host.gpus for name, host in snapshot.hosts.items()} == {
        "n (NetBox 1)": 2,
        "n (NetBox 1) (NetBox 1)": 8,
        "n (NetBox 2)": 4,
    }


def test_a_device_that_nova_does_not_know_is_joined_to_its_provider() -> None:
    snapshot = FleetBuilder().device("n", gpu_count=8).tree("N.cloud", VGPU=(8, 0)).snapshot()

    assert snapshot.hosts["n"].resource_provider == "provider-N.cloud"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("GpU-İ", id="odd case"),
        pytest.param("x" * 1000, id="a thousand characters"),
        pytest.param("a\"b'c\\", id="quotes"),
        pytest.param("a\nb", id="a newline"),
        pytest.param(".", id="a dot"),
        pytest.param("", id="nothing"),
    ],
)
def test_any_name_goes_through_unharmed(name: str) -> None:
    snapshot = FleetBuilder().host(name, "H100-n3", servers=(1,), netbox="active").snapshot()

    assert list(snapshot.hosts) == [name]
    assert snapshot.hosts[name].netbox_status == "active"


NODES = tuple(f"{number:08x}-0000-4000-8000-000000000000" for number in range(4))


def ironic(*computes: str) -> FleetBuilder:
    """Four nodes, of which the computes stand for two by turns; flavors and providers both speak of GPUs."""
    fleet = FleetBuilder().unconfigured(Source.NETBOX).host("gpu-1", "H100-n3")
    for compute in computes:
        fleet.service(compute).aggregate("H100-n3", compute)
    for number, node in enumerate(NODES):
        fleet.node(node, used=number // 2)
        if number // 2 and computes:
            compute = computes[number % len(computes)]
            fleet.server(compute, named_flavor("bm-H100x8"), hypervisor_hostname=node)
    return fleet


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param(ironic("ironic-1"), id="one compute service"),
        pytest.param(ironic("ironic-1", "ironic-2"), id="two that share the nodes"),
        pytest.param(
            ironic("ironic-1", "ironic-2").server(
                "ironic-1", named_flavor("bm-H100x8"), hypervisor_hostname=NODES[3]
            ),
            id="a node named by both",
        ),
        pytest.param(ironic("ironic-1").without(Source.GPUS), id="nodes by their names alone"),
        pytest.param(ironic().service("ironic-1").aggregate("H100-n3", "ironic-1"), id="every node idle"),
    ],
)
def test_a_compute_service_for_bare_metal_nodes_is_out_of_stock_and_contradicts_nothing(
    fleet: FleetBuilder,
) -> None:
    snapshot = fleet.snapshot(default_interpretation(gpus_per_host={"H100": 8}))

    computes = [host for name, host in snapshot.hosts.items() if name.startswith("ironic")]
    assert computes
    assert {host.out_of_stock for host in computes} == {OutOfStock.BARE_METAL}
    assert {(host.gpus, host.gpus_used) for host in computes} == {(None, None)}
    assert not any(host.is_empty for host in computes)
    assert snapshot.contradictions == ()
    assert not set(NODES) & snapshot.hosts.keys()
    assert snapshot.hosts["gpu-1"].out_of_stock is None


def test_a_host_whose_provider_is_left_over_is_no_bare_metal_compute() -> None:
    fleet = FleetBuilder().host("h", "H100-n3", gpus=None).node(NODES[0]).tree("elsewhere", VCPU=(4, 0))

    assert fleet.snapshot().hosts["h"].out_of_stock is None
