"""How many requests and bytes a refresh costs, counted by the cloud that answers them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from clouds_under_test import StandingClock, Watched, settings_of, watching

from spotd.sim import CloudSize, EmbeddedCloud, Request

PERIOD_SECONDS = 15
STEADY_REQUESTS = 6
ONE_TREE_BYTES = 10_000
"""A host with 8 GPU providers and its traits, as Placement tells it, is 3 kB."""
AS_SHIPPED = {
    "openstack": {"request_timeout_seconds": 60.0, "connect_timeout_seconds": 5.0},
    "netbox": {"request_timeout_seconds": 60.0, "full_resync_seconds": 21600.0},
    "collection": {"agent_deadline_seconds": 60.0},
    "cache": {
        "snapshot_seconds": 15.0,
        "netbox_seconds": 1800.0,
        "aggregates_seconds": 3600.0,
        "netbox_max_age_seconds": 86400.0,
        "aggregates_max_age_seconds": 14400.0,
        "servers_max_age_seconds": 900.0,
        "gpus_max_age_seconds": 900.0,
    },
}


@dataclass
class Counted:
    """A region whose refreshes are counted."""

    cloud: EmbeddedCloud
    watched: Watched
    cold: tuple[Request, ...]
    taking_in: tuple[Request, ...]

    def refresh(self, seconds: float = PERIOD_SECONDS) -> tuple[Request, ...]:
        self.cloud.requests.clear()
        self.watched.clock.move(seconds)
        self.watched.steady()
        return self.cloud.requests.snapshot()


def size(hosts: int) -> CloudSize:
    return CloudSize(hosts=hosts, servers=5 * hosts, projects=hosts, gpu_model="children")


def counted(cloud_size: CloudSize) -> Iterator[Counted]:
    clock = StandingClock()
    with EmbeddedCloud(cloud_size, now=clock) as cloud:
        settings = settings_of(cloud, **AS_SHIPPED)
        with watching(cloud, settings=settings, clock=clock) as watched:
            watched.steady()
            watched.until(lambda: watched.region.servers._walk.servers is not None)
            cold = cloud.requests.snapshot()
            region = Counted(cloud, watched, cold, ())
            region.taking_in = region.refresh()
            yield region


@pytest.fixture(scope="module")
def small() -> Iterator[Counted]:
    yield from counted(size(100))


@pytest.fixture(scope="module")
def large() -> Iterator[Counted]:
    yield from counted(size(2000))


def bytes_of(requests: tuple[Request, ...], service: str | None = None) -> int:
    return sum(request.bytes_out for request in requests if service in (None, request.service))


def services_list(requests: tuple[Request, ...]) -> int:
    return next(request.bytes_out for request in requests if request.path.endswith("/os-services"))


def a_host_with_room(cloud: EmbeddedCloud) -> str:
    wanted = cloud.world.servers.flavor("cpu-small").resources()
    return next(
        host.name
        for host in cloud.world.computes.hosts.values()
        if host.status == "enabled" and host.is_up and cloud.world.ledger.plan(host.provider_uuid, wanted)
    )


@pytest.mark.slow
def test_a_cold_refresh_asks_for_pages_and_ten_more(large: Counted) -> None:
    """2,000 hosts of 8 GPU providers, 10,000 servers, as many projects as hosts."""
    servers = len(large.cloud.world.servers.by_id)
    devices = len(large.cloud.world.netbox.devices)

    assert len(large.cold) <= 10 + math.ceil(servers / 1000) + math.ceil(devices / 1000)
    assert len(large.taking_in) <= STEADY_REQUESTS


@pytest.mark.slow
def test_a_steady_refresh_costs_as_many_requests_for_many_hosts_as_for_few(
    small: Counted, large: Counted
) -> None:
    """Nothing is asked host by host, server by server or project by project."""
    few, many = small.refresh(), large.refresh()

    assert len(few) == len(many)
    assert len(many) <= STEADY_REQUESTS


@pytest.mark.slow
def test_with_nothing_changed_a_refresh_is_little_more_than_the_services_list(large: Counted) -> None:
    """Placement tells one host's tree, NetBox is not asked, and Nova has nothing to tell."""
    refresh = large.refresh()

    assert bytes_of(refresh, "placement") <= ONE_TREE_BYTES
    assert bytes_of(refresh, "netbox") == 0
    assert bytes_of(refresh) <= services_list(refresh) + ONE_TREE_BYTES + 100


@pytest.mark.slow
def test_with_one_server_changed_only_its_hosts_tree_is_asked_for(large: Counted) -> None:
    """Once, besides the tree that every refresh looks in on; those after it look in as ever."""
    host = a_host_with_room(large.cloud)
    large.cloud.world.boot(host, "cpu-small")

    refresh, after = large.refresh(), large.refresh()

    asked = [request.query.partition("&")[2] for request in refresh if request.service == "placement"]
    assert len(asked) == 2
    assert asked[1] == f"in_tree={large.cloud.world.host(host).provider_uuid}"
    assert asked[0].startswith("in_tree=")
    assert len(refresh) <= STEADY_REQUESTS
    assert bytes_of(refresh, "placement") <= 2 * ONE_TREE_BYTES
    assert bytes_of(after, "placement") <= ONE_TREE_BYTES


@pytest.mark.slow
def test_a_refresh_in_which_everything_is_due_keeps_the_budget(large: Counted) -> None:
    """Aggregates, NetBox's changes and all of Placement at once; the walk has pages of its own."""
    large.cloud.requests.clear()
    large.watched.clock.move(PERIOD_SECONDS)

    large.watched.collect()

    everything = large.cloud.requests.snapshot()
    assert {"nova", "placement", "netbox"} == {request.service for request in everything}
    assert len(everything) <= STEADY_REQUESTS


def test_with_hypervisors_named_otherwise_one_change_asks_for_one_more_tree() -> None:
    """Nova's host is `gpu-1`, Placement's provider `gpu-1.gpu.example`."""
    few = CloudSize(hosts=20, hypervisor_domain=".gpu.example")
    for region in counted(few):
        region.cloud.world.boot(a_host_with_room(region.cloud), "cpu-small")

        refresh = region.refresh()

        asked = [request.query for request in refresh if request.service == "placement"]
        assert len(asked) == 2
        assert all("in_tree=" in query for query in asked)
