"""Hosts and providers of rarer shapes, seen through the daemon's own walk over the embedded cloud."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from clouds_under_test import StandingClock, Watched, settings_of, watching
from fleets import default_interpretation

from spotd.clouds.preflight import look
from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.snapshot import FleetSnapshot, OutOfStock
from spotd.metrics.fleet import FleetCollector
from spotd.sim import CloudSize, EmbeddedCloud
from spotd.sim.shapes import NODE_CLASS, SLICE_CLASS, add_bare_metal, clean

SIZE = CloudSize(hosts=13, projects=3, gpu_model="children", gpus_per_host=4)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


def seen(size: CloudSize, clock: StandingClock, **settings: Any) -> Iterator[tuple[EmbeddedCloud, Watched]]:
    with (
        EmbeddedCloud(size, seed=5, now=clock) as cloud,
        watching(cloud, settings=settings_of(cloud, **settings), clock=clock) as watched,
    ):
        watched.settle()
        yield cloud, watched


def ratios(snapshot: FleetSnapshot) -> list[float]:
    families = FleetCollector(lambda: snapshot).collect()
    return [each.value for family in families for each in family.samples if each.name.endswith("_ratio")]


def about(snapshot: FleetSnapshot, prefix: str) -> list[str]:
    return [found.detail for found in snapshot.contradictions if found.host.startswith(prefix)]


@pytest.mark.parametrize("gpu_model", ["root", "children"])
def test_full_hosts_are_all_known_though_bare_metal_never_answers(
    clock: StandingClock, gpu_model: str
) -> None:
    """Five hosts that are full in everything beside nodes of one class alone, whatever those are called."""
    size = replace(SIZE, gpu_model=gpu_model, full_hosts=5, bare_metal_nodes=6)
    for cloud, watched in seen(size, clock):
        for provider in list(cloud.world.ledger.providers.values()):
            if NODE_CLASS in provider.inventories:
                provider.name = f"a-node-{provider.name[:8]}"
                provider.fragments.clear()

        for _ in range(6):
            snapshot = watched.collect()

        full = [host for name, host in snapshot.hosts.items() if name.startswith("full-")]
        assert [(host.gpus, host.gpus_used, host.is_empty) for host in full] == [(4, 4, False)] * 5
        assert snapshot.readings.gpus is not None
        assert snapshot.readings.gpus.value.unread == ()
        cloud.requests.clear()
        watched.collect()
        asked = [request for request in cloud.requests.snapshot() if request.service == "placement"]
        assert len(asked) <= 20


def test_a_host_sold_in_slices_that_nobody_explains_is_never_idle(clock: StandingClock) -> None:
    for _, watched in seen(replace(SIZE, sliced_hosts=1), clock):
        snapshot = watched.snapshot()

        host = snapshot.hosts["sliced-001"]
        assert (host.gpus, host.gpus_used, host.is_empty) == (4, None, False)
        assert host.unexplained_classes == snapshot.unexplained_classes == (SLICE_CLASS,)
        assert about(snapshot, "sliced") == []


def test_slices_count_once_they_are_explained(clock: StandingClock) -> None:
    explained = {"class_types": {SLICE_CLASS: "H100"}}
    for _, watched in seen(replace(SIZE, sliced_hosts=1), clock, gpus=explained):
        snapshot = watched.snapshot()

        host = snapshot.hosts["sliced-001"]
        assert (host.gpus, host.gpus_used, snapshot.unexplained_classes) == (28, 28, ())
        assert about(snapshot, "sliced") == []


def test_one_time_use_devices_are_sold_reserved_or_free(clock: StandingClock) -> None:
    """Two in use, one that waits to be cleaned and one that is clean."""
    for cloud, watched in seen(replace(SIZE, one_time_use_hosts=1), clock):
        before = watched.snapshot().hosts["once-001"]

        clean(cloud.world, "once-001")
        after = watched.collect()

        host = after.hosts["once-001"]
        assert (before.gpus, before.gpus_used, before.gpus_reserved) == (3, 2, 1)
        assert (host.gpus, host.gpus_used, host.gpus_reserved) == (4, 2, 0)
        assert about(after, "once") == []
        assert all(0 <= ratio <= 1 for ratio in ratios(after))


@pytest.mark.parametrize("computes", [1, 2])
@pytest.mark.parametrize("resource_class", [NODE_CLASS, "CUSTOM_GPU_H100_BM"])
def test_bare_metal_in_the_region_is_told_apart_and_contradicts_nothing(
    clock: StandingClock, computes: int, resource_class: str
) -> None:
    names = [f"ironic-{number}" for number in range(computes)]
    for cloud, watched in seen(SIZE, clock):
        without = watched.snapshot()
        nodes = add_bare_metal(cloud.world, names, 6, resource_class=resource_class)
        for name in names:
            cloud.world.add_host("H100-n3", name)
        watched.collect()

        snapshot = watched.settle()

        assert {snapshot.hosts[name].out_of_stock for name in names} == {OutOfStock.BARE_METAL}
        assert not any(snapshot.hosts[name].is_empty for name in names)
        assert not set(nodes) & snapshot.hosts.keys()
        assert snapshot.contradictions == without.contradictions
        assert snapshot.unexplained_classes == ()
        assert snapshot.hosts.keys() - set(names) == without.hosts.keys()


def test_preflight_names_what_needs_a_word_and_nothing_where_all_is_plain(clock: StandingClock) -> None:
    shapes = replace(SIZE, sliced_hosts=1, full_hosts=1, bare_metal_nodes=2)
    said = []
    for size in (SIZE, shapes):
        for _, watched in seen(size, clock):
            names = GpuNames(default_interpretation(), (), ())
            said.append([finding.detail for finding in look(watched.region.session, None, names.explains)])

    plain, rare = said
    assert len(rare) == len(plain) + 2
    assert any(SLICE_CLASS in detail and "gpus.other_classes" in detail for detail in rare)
    assert any("1 have nothing free" in detail and "full-001" in detail for detail in rare)
