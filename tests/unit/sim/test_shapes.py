"""The rarer shapes of hosts and providers that the embedded cloud can be built with."""

from dataclasses import replace

import pytest

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.ledger import Provider
from spotd.sim.shapes import NODE_CLASS, ONE_TIME_USE, SLICE_CLASS, clean

SHAPES = CloudSize(
    hosts=13,
    full_hosts=2,
    sliced_hosts=1,
    one_time_use_hosts=1,
    bare_metal_nodes=5,
    bare_metal_computes=2,
)


@pytest.fixture(scope="module", params=["root", "children"])
def cloud(request: pytest.FixtureRequest) -> EmbeddedCloud:
    return EmbeddedCloud(replace(SHAPES, gpu_model=request.param), seed=3)


def tree(cloud: EmbeddedCloud, host: str) -> list[Provider]:
    return list(cloud.world.ledger.tree(cloud.world.host(host).provider_uuid))


def test_a_full_host_has_nothing_free_of_any_class(cloud: EmbeddedCloud) -> None:
    free = [
        name
        for host in ("full-001", "full-002")
        for provider in tree(cloud, host)
        for name in provider.inventories
        if provider.fits(name, 1)
    ]

    assert free == []
    assert {server.status for server in cloud.world.servers_on("full-001")} == {"ACTIVE"}


def test_every_slice_of_a_sliced_host_is_sold(cloud: EmbeddedCloud) -> None:
    counts = [
        (p.inventories[SLICE_CLASS].total, p.used[SLICE_CLASS])
        for p in tree(cloud, "sliced-001")
        if SLICE_CLASS in p.inventories
    ]

    assert sum(total for total, _ in counts) == sum(used for _, used in counts) == 56
    assert len(cloud.world.servers_on("sliced-001")) == 56


def test_a_one_time_use_device_stays_reserved_until_it_is_cleaned() -> None:
    cloud = EmbeddedCloud(SHAPES, seed=3)

    def shown() -> list[tuple[int, int]]:
        devices = [p for p in tree(cloud, "once-001") if ONE_TIME_USE in p.traits]
        return [
            (p.inventories["CUSTOM_GPU_H100"].capacity, p.used.get("CUSTOM_GPU_H100", 0)) for p in devices
        ]

    before = shown()
    clean(cloud.world, "once-001")

    assert before == [(0, 1)] * 4 + [(0, 0)] + [(1, 0)] * 3
    assert shown() == [(0, 1)] * 4 + [(1, 0)] * 4


def test_bare_metal_nodes_are_hypervisors_of_the_computes_that_share_them(cloud: EmbeddedCloud) -> None:
    computes = [cloud.world.host(name) for name in ("ironic-1", "ironic-2")]
    nodes = computes[0].nodes
    on_them = [server for host in computes for server in cloud.world.servers_on(host.name)]

    assert computes[1].nodes == nodes
    assert len({server.node for server in on_them} & set(nodes)) == len(on_them) == 3
    assert all(list(cloud.world.ledger.providers[node].inventories) == [NODE_CLASS] for node in nodes)
    assert all(cloud.world.ledger.providers[node].name == node for node in nodes)
