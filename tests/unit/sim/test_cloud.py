import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import requests

from spotd.sim import CloudSize, EmbeddedCloud

Ask = Callable[..., requests.Response]
SMALL = CloudSize(hosts=12, projects=2)


def sim_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]


def test_a_stop_leaves_no_thread_and_no_open_connection() -> None:
    before = sim_threads()
    cloud = EmbeddedCloud(SMALL)
    cloud.start()
    cloud.live.start(rate_per_second=50)
    session = requests.Session()
    session.get(cloud.auth_url, timeout=10)

    cloud.stop()

    assert sim_threads() == before
    with pytest.raises(RuntimeError):
        _ = cloud.auth_url


def test_start_and_stop_may_be_repeated() -> None:
    cloud = EmbeddedCloud(SMALL)

    cloud.start()
    cloud.start()
    cloud.stop()
    cloud.stop()
    with cloud:
        assert requests.get(cloud.auth_url, timeout=10).status_code == 200


def test_one_seed_makes_one_cloud() -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    first, second, other = (EmbeddedCloud(SMALL, seed=seed, now=lambda: moment).world for seed in (1, 1, 2))

    assert list(first.servers.by_id.values()) == list(second.servers.by_id.values())
    assert first.netbox.devices == second.netbox.devices
    assert list(first.servers.by_id) != list(other.servers.by_id)


def test_one_seed_makes_one_workload() -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    clouds = [EmbeddedCloud(SMALL, seed=1, now=lambda: moment) for _ in range(2)]

    for cloud in clouds:
        cloud.live.step(40)

    assert clouds[0].world.servers.by_id == clouds[1].world.servers.by_id
    assert clouds[0].world.servers.by_id != EmbeddedCloud(SMALL, now=lambda: moment).world.servers.by_id


@pytest.mark.parametrize("hosts", [10, 120, 600])
def test_a_fleet_is_about_sixty_percent_full(hosts: int) -> None:
    world = EmbeddedCloud(CloudSize(hosts=hosts)).world

    total = sum(host.gpus for host in world.computes.hosts.values())
    used = sum(
        amount
        for provider in world.ledger.providers.values()
        for name, amount in provider.used.items()
        if name.startswith("CUSTOM_GPU_")
    )
    assert len(world.computes.hosts) == hosts
    assert 0.4 < used / total < 0.8


def test_servers_may_be_counted_out() -> None:
    world = EmbeddedCloud(CloudSize(hosts=40, servers=300)).world

    assert len(world.servers.by_id) == 300
    assert {server.status for server in world.servers.by_id.values()} == {"ACTIVE"}


def test_every_request_is_written_down(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.requests.clear()

    nova("GET", "/os-services?binary=nova-compute", "2.53")

    (request,) = cloud.requests.snapshot()
    assert (request.service, request.method, request.path) == ("nova", "GET", "/v2.1/os-services")
    assert (request.query, request.microversion, request.status) == ("binary=nova-compute", "2.53", 200)
    assert request.bytes_out > 1000
    assert cloud.requests.count()[("nova", "GET", "/v2.1/os-services")] == 1


def test_a_cloud_can_live_in_its_own_process() -> None:
    command = [sys.executable, "-m", "spotd.sim", "--hosts", "12", "--seed", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())

        answer = requests.get(facts["auth_url"], timeout=10)
        process.communicate(timeout=10)

    assert answer.status_code == 200
    assert process.returncode == 0
    assert facts["clouds_yaml"]["clouds"]["embedded"]["auth"]["auth_url"] == facts["auth_url"]


def test_a_web_server_may_give_nova_a_path_of_its_own() -> None:
    """Versions are listed there with that path, and elsewhere is nothing."""
    with EmbeddedCloud(CloudSize(hosts=12, projects=2, compute_path="/compute")) as cloud:
        root = cloud.nova_url.removesuffix("/compute/v2.1")
        versions = requests.get(f"{root}/compute/", timeout=10).json()["versions"]
        elsewhere = requests.get(f"{root}/v2.1/servers", timeout=10)

    assert versions[1]["links"][0]["href"] == f"{root}/compute/v2.1/"
    assert (elsewhere.status_code, elsewhere.headers["Content-Type"][:9]) == (404, "text/html")


def test_outside_of_its_versions_nova_offers_choices() -> None:
    with EmbeddedCloud(SMALL) as cloud:
        answer = requests.get(cloud.nova_url.replace("/v2.1", "/os-aggregates"), timeout=10)

    assert answer.status_code == 300
    assert [one["id"] for one in answer.json()["choices"]] == ["v2.0", "v2.1"]
