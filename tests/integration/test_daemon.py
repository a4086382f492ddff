"""The daemon in this process on an embedded cloud: what it shows, survives, takes up and leaves behind."""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import structlog.testing
from clouds_under_test import refuse_connections
from daemons import (
    ADMINS_TOKENS,
    Configuration,
    Face,
    Scraped,
    move_service,
    own_threads,
    quick_settings,
    running,
    write_clouds_file,
)
from waiting import until

from spotd.clock import SystemClock
from spotd.clouds.transport import BoundedAdapter
from spotd.daemon.daemon import Daemon
from spotd.settings import load_settings
from spotd.settings.models import Settings
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind
from spotd.sim.records import Host

PERIOD_AND_MARGIN_SECONDS = 1.1 + 2.0


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as started:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(started, tmp_path)))
        yield started
        started.faults.clear()


@pytest.fixture
def settings(cloud: EmbeddedCloud) -> Settings:
    return quick_settings(cloud)


@pytest.fixture
def face(settings: Settings) -> Iterator[Face]:
    with running(settings) as started:
        started.settle()
        yield started


def roomy_host(cloud: EmbeddedCloud) -> Host:
    """A host for sale with a free GPU."""
    world = cloud.world
    for host in world.computes.hosts.values():
        flavor = world.servers.flavor(f"n3-{gpu_type(host)}x1")
        fits = world.ledger.plan(host.provider_uuid, flavor.resources()) is not None
        if fits and host.status == "enabled" and host.is_up and world.aggregates_of(host.name):
            return host
    raise AssertionError("the seed makes no such host")


def gpu_type(host: Host) -> str:
    return (host.gpu_class or "").removeprefix("CUSTOM_GPU_").replace("_", "-")


def names(cloud: EmbeddedCloud) -> set[str]:
    """Every GPU host that Nova or NetBox names."""
    return set(cloud.world.computes.hosts) | {device.name for device in cloud.world.netbox.devices.values()}


def hang_all(cloud: EmbeddedCloud) -> None:
    cloud.faults.add(Fault(kind=FaultKind.HANG))


def threads_that_ask(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that send a request to a cloud from now on; the list grows."""
    asking: list[str] = []
    send = BoundedAdapter.send

    def noting(adapter: BoundedAdapter, *args: Any, **keywords: Any) -> requests.Response:
        asking.append(threading.current_thread().name)
        return send(adapter, *args, **keywords)

    monkeypatch.setattr(BoundedAdapter, "send", noting)
    return asking


def full_walks(cloud: EmbeddedCloud) -> int:
    return sum(
        one.path.endswith("/servers/detail") and "changes-since" not in one.query
        for one in cloud.requests.snapshot()
    )


def test_shows_the_fleet_as_it_is(cloud: EmbeddedCloud, face: Face) -> None:
    scraped = face.scrape()

    alive = [server for server in cloud.world.servers.by_id.values() if not server.is_deleted]
    assert scraped.get("spotd_fleet_hosts") == len(names(cloud))
    assert scraped.get("spotd_fleet_servers") == len(alive)
    assert {row["host"] for row in scraped.labels("spotd_host_info")} == names(cloud)
    assert face.get("/-/healthy").status_code == 200
    assert f"{len(names(cloud))} GPU hosts" in face.get("/").text


def test_a_boot_and_a_deletion_are_seen_within_one_period(cloud: EmbeddedCloud, face: Face) -> None:
    host = roomy_host(cloud)

    def told() -> tuple[float | None, float | None]:
        scraped = face.scrape()
        return scraped.get("spotd_host_gpus_used", host=host.name), scraped.get(
            "spotd_host_servers", host=host.name
        )

    used, servers = told()
    assert used is not None
    assert servers is not None

    server = cloud.world.boot(host.name, f"n3-{gpu_type(host)}x1")
    until(lambda: told() == (used + 1, servers + 1), seconds=PERIOD_AND_MARGIN_SECONDS)

    cloud.world.delete_server(server.id)
    until(lambda: told() == (used, servers), seconds=PERIOD_AND_MARGIN_SECONDS)


def test_starts_while_nova_is_down_and_heals_by_itself(cloud: EmbeddedCloud, settings: Settings) -> None:
    reopen = refuse_connections(cloud, "nova")

    with running(settings) as face:
        until(lambda: face.scrape().get("spotd_agent_success", agent="servers") == 0)
        said = face.get("/-/ready")
        scraped = face.scrape()
        reopen()
        face.settle()
        healed = face.collect_again()

    assert said.status_code == 503
    assert "not known yet" in said.text
    assert scraped.series("spotd_pool_") == {}
    assert scraped.get("spotd_fleet_servers") is None
    assert healed.get("spotd_agent_success", agent="servers") == 1
    assert healed.get("spotd_fleet_hosts") == len(names(cloud))


@pytest.mark.parametrize("hosts", [30, 2000])
def test_a_scrape_never_waits_for_a_cloud_that_hangs(
    hosts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedCloud(CloudSize(hosts=hosts), seed=5) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        slow = {"request_timeout_seconds": 20.0}
        with running(
            quick_settings(cloud, openstack=slow, netbox=slow, collection={"agent_deadline_seconds": 20.0})
        ) as face:
            until(lambda: face.scrape().get("spotd_fleet_servers") is not None, seconds=60)
            hang_all(cloud)
            until(lambda: face.scrape().get("spotd_thread_pool_busy") == 4, seconds=45)
            asking = threads_that_ask(monkeypatch)
            took = []
            for path in ("/metrics", "/", "/-/ready", "/-/healthy") * 5:
                began = time.monotonic()
                answer = face.get(path)
                took.append(time.monotonic() - began)
                assert answer.status_code == 200, (path, answer.text)
            scraped = face.scrape()

            began = time.monotonic()
        stopped_after = time.monotonic() - began

    # Nothing asks but the agents' own threads. And were a few answers slow on a busy machine, most are not.
    assert [name for name in asking if not name.startswith(("spotd agent", "spotd server"))] == []
    assert statistics.median(took) < 0.5
    assert max(took) < 5  # a quarter of what a call may take
    assert scraped.get("spotd_fleet_hosts") == len(names(cloud))
    assert stopped_after < 5


def test_past_its_maximum_age_a_series_ends_and_never_falls_to_zero(cloud: EmbeddedCloud) -> None:
    ages = dict.fromkeys(
        [f"{name}_max_age_seconds" for name in ("servers", "gpus", "aggregates", "netbox")], 3.0
    )
    with running(quick_settings(cloud, cache=ages)) as face:
        face.settle()
        until(lambda: face.scrape().get("spotd_reading_timestamp_seconds", source="netbox") is not None)
        before = facts(face.scrape())
        assert before
        hang_all(cloud)
        falsely_zero: list[object] = []

        def all_gone() -> bool:
            now = facts(face.scrape())
            falsely_zero.extend(
                series for series, value in now.items() if value == 0 and before.get(series) != 0
            )
            return not now

        until(all_gone, seconds=10)
        said = face.get("/-/ready")
        hosts = face.scrape().get("spotd_fleet_hosts")

        cloud.faults.clear()
        until(lambda: facts(face.scrape()) == before, seconds=15)

    assert falsely_zero == []
    assert hosts is None
    assert (said.status_code, "not known" in said.text) == (503, True)


def facts(scraped: Scraped) -> dict[object, float]:
    """What is told of hosts and pools; a host's pool and type are left out, since they may end before it."""
    found: dict[object, float] = {}
    for prefix in ("spotd_host_", "spotd_pool_", "spotd_gpu_type_", "spotd_contract_", "spotd_fleet_"):
        for (name, labels), value in scraped.series(prefix).items():
            host = dict(labels).get("host")
            if name not in ("spotd_pool_hosts_unknown", "spotd_host_info", "spotd_host_aggregate_info"):
                found[name, labels if host is None else host] = value
    return found


# Reload


@pytest.fixture
def configuration(settings: Settings) -> Configuration:
    return Configuration(settings)


@pytest.fixture
def reloaded(settings: Settings, configuration: Configuration) -> Iterator[Face]:
    with running(settings, load=configuration.load) as started:
        started.settle()
        yield started


def test_a_good_reload_swaps_the_whole_configuration(
    cloud: EmbeddedCloud, configuration: Configuration, reloaded: Face
) -> None:
    before = reloaded.scrape()
    servers = before.get("spotd_fleet_servers")
    assert any(row["netbox_status"] for row in before.labels("spotd_host_info"))
    walks = full_walks(cloud)
    configuration.now = quick_settings(cloud, cache={"snapshot_seconds": 60.0}).model_copy(
        update={"netbox": None}
    )

    answer = reloaded.reload()
    at_once = reloaded.scrape()

    assert (answer.status_code, answer.text) == (200, "reloaded\n")
    assert at_once.get("spotd_fleet_servers") == servers
    assert not any(row["netbox_status"] for row in at_once.labels("spotd_host_info"))
    assert at_once.get("spotd_reading_timestamp_seconds", source="netbox") is None
    assert at_once.get("spotd_agent_success", agent="netbox") is None
    assert at_once.get("spotd_config_last_reload_successful") == 1
    # A new configuration is put to the test at once, and then at its own period.
    until(lambda: (reloaded.scrape().get("spotd_snapshot_timestamp_seconds") or 0) > time.time() - 1)
    settled = until(reloaded.collections)
    assert walks == full_walks(cloud)
    assert settled - (before.get("spotd_collections_total") or 0) <= 3


def test_a_reload_during_a_collection_harms_neither(
    cloud: EmbeddedCloud, configuration: Configuration, reloaded: Face
) -> None:
    cloud.faults.latency["*"] = 0.3
    with structlog.testing.capture_logs() as events:
        for _ in range(8):
            assert reloaded.reload().status_code == 200
        cloud.faults.latency.clear()
        scraped = reloaded.collect_again()

    assert [event for event in events if event["log_level"] in ("error", "critical")] == []
    assert [event for event in events if event["event"] == "agent failed"] == []
    assert scraped.get("spotd_agent_success", agent="servers") == 1
    assert scraped.get("spotd_fleet_hosts") == len(names(cloud))


def test_many_reloads_leave_no_threads_behind(reloaded: Face) -> None:
    reloaded.collect_again()
    before = len(own_threads())
    for _ in range(10):
        reloaded.reload()
    reloaded.collect_again()

    until(lambda: len(own_threads()) <= before + 8, why="threads stayed")


def test_an_unforeseen_error_of_a_reload_keeps_the_old_configuration(
    cloud: EmbeddedCloud, configuration: Configuration, reloaded: Face
) -> None:
    configuration.now = RuntimeError("nobody foresaw this")

    answer = reloaded.reload()

    assert answer.status_code == 500
    assert answer.text.startswith("kept the old configuration: ")
    assert reloaded.scrape().get("spotd_config_last_reload_successful") == 0
    assert reloaded.collect_again().get("spotd_fleet_hosts") == len(names(cloud))


BAD_FILES = {
    "value": ({"cache": "{snapshot_seconds: 0}"}, "cache.snapshot_seconds"),
    "unknown-key": ({"cache": "{snapshot_secs: 1}"}, "snapshot_secs"),
    "unknown-cloud": ({"openstack": "{cloud: elsewhere}"}, "'elsewhere' in clouds.yaml; it has: embedded"),
    "secret-file": (
        {"netbox": "{url: 'http://127.0.0.1:9', token_file: gone}"},
        "gone cannot be read: no such file",
    ),
    "restart": ({"web": "{listen_address: '127.0.0.1:1'}"}, "web.listen_address cannot change while running"),
    "yaml": ({"cache": "{snapshot_seconds: 1"}, "spotd.yml:"),
}


def test_a_bad_reload_keeps_the_old_configuration_and_says_why(cloud: EmbeddedCloud, tmp_path: Path) -> None:
    path = tmp_path / "spotd.yml"
    good = {
        "openstack": "{cloud: embedded}",
        "cache": "{snapshot_seconds: 1}",
        "web": "{listen_address: '127.0.0.1:0'}",
        "api": json.dumps({"tokens": ADMINS_TOKENS}),
    }

    def write(groups: dict[str, str]) -> None:
        path.write_text("".join(f"{name}: {values}\n" for name, values in groups.items()))

    def load() -> Settings:
        return load_settings(path, {}).settings

    write(good)
    told: dict[str, tuple[int, str, float | None]] = {}
    with running(load(), load=load) as face:
        for name, (changes, _) in BAD_FILES.items():
            write(good | changes)
            answer = face.reload()
            success = face.scrape().get("spotd_config_last_reload_successful")
            told[name] = answer.status_code, answer.text, success
        face.settle()
        write(good)
        again = face.reload()
        told_again = face.scrape().get("spotd_config_last_reload_successful")

    for name, (_, reason) in BAD_FILES.items():
        status, text, success = told[name]
        assert (name, status, success) == (name, 500, 0)
        assert reason in text
        assert text.startswith("kept the old configuration: ")
    assert (200, 1) == (again.status_code, told_again)


# Keystone


def test_the_end_of_a_token_is_survived(cloud: EmbeddedCloud, face: Face) -> None:
    cloud.world.expire_tokens()
    face.collect_again()
    cloud.world.revoke_tokens()

    scraped = face.collect_again()

    assert sum(scraped.series("spotd_agent_failures_total").values()) == 0
    age = time.time() - (scraped.get("spotd_reading_timestamp_seconds", source="services") or 0)
    assert age < 5


def test_a_service_that_moved_is_found_in_the_new_catalog(cloud: EmbeddedCloud, face: Face) -> None:
    move_service(cloud, "nova", "compute", "/v2.1")

    moved_at = time.time()
    until(
        lambda: (face.scrape().get("spotd_reading_timestamp_seconds", source="services") or 0) > moved_at + 1,
        seconds=20,
    )
    assert face.scrape().get("spotd_agent_success", agent="servers") == 1


# Warm restart


@pytest.fixture
def state(settings: Settings, tmp_path: Path) -> Path:
    """What a daemon left when it was stopped."""
    directory = tmp_path / "state"
    directory.mkdir()
    with running(settings, directory=directory) as face:
        face.settle()
    return directory


def test_a_warm_restart_shows_the_fleet_before_any_cloud_answers(
    cloud: EmbeddedCloud, settings: Settings, state: Path
) -> None:
    hang_all(cloud)
    stored_before = time.time()

    with running(settings, directory=state) as face:
        scraped = face.scrape()
        ready = face.get("/-/ready")

    assert scraped.get("spotd_fleet_hosts") == len(names(cloud))
    assert scraped.get("spotd_fleet_servers") is not None
    for source in ("netbox", "aggregates", "services", "servers", "gpus"):
        read_at = scraped.get("spotd_reading_timestamp_seconds", source=source)
        assert read_at is not None
        assert stored_before - 20 < read_at < stored_before
    assert ready.status_code == 200


def test_a_warm_restart_walks_no_servers_and_follows_what_happened(
    cloud: EmbeddedCloud, settings: Settings, state: Path
) -> None:
    host = roomy_host(cloud)
    cloud.world.boot(host.name, f"n3-{gpu_type(host)}x1")
    alive = sum(not server.is_deleted for server in cloud.world.servers.by_id.values())
    cloud.requests.clear()

    with running(settings, directory=state) as face:
        until(lambda: face.scrape().get("spotd_fleet_servers") == alive)

    assert full_walks(cloud) == 0


def test_readings_of_a_cloud_of_the_same_name_elsewhere_are_not_resumed(
    settings: Settings, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """clouds.yaml now points the name to another place: its hosts are others."""
    with EmbeddedCloud(CloudSize(hosts=10), seed=7) as other:
        elsewhere = tmp_path / "elsewhere.yaml"
        elsewhere.write_text(json.dumps(other.clouds_yaml()))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(elsewhere))
        hang_all(other)

        with running(settings, directory=state) as face:
            scraped = face.scrape()

        assert scraped.get("spotd_fleet_servers") is None


def test_a_damaged_file_means_a_cold_start_and_one_line(
    cloud: EmbeddedCloud, settings: Settings, state: Path
) -> None:
    (file,) = state.iterdir()
    for damage in (b"", b"{}", b"spotd-readings-1 0\n{}", file.read_bytes()[:-9]):
        file.write_bytes(damage)
        cloud.requests.clear()

        with structlog.testing.capture_logs() as events, running(settings, directory=state):
            until(lambda: full_walks(cloud) == 1)

        told = [event["event"] for event in events if "stored readings" in event["event"]]
        assert told == ["stored readings ignored, starting cold"]


# The end


def test_stops_within_seconds_while_a_cloud_hangs_and_leaves_no_thread(
    cloud: EmbeddedCloud, settings: Settings
) -> None:
    before = own_threads()
    daemon = Daemon(settings, clock=SystemClock())
    daemon.start()
    face = Face(f"http://{daemon.web.address}")
    face.settle()
    hang_all(cloud)
    until(lambda: face.scrape().get("spotd_thread_pool_busy") == 4)

    with structlog.testing.capture_logs() as events:
        began = time.monotonic()
        daemon.stop()
        took = time.monotonic() - began
        until(lambda: not own_threads() - before, seconds=5, why="threads stayed")

    assert took < 5
    assert [event for event in events if event["log_level"] == "error"] == []


def test_a_daemon_that_never_got_its_port_leaves_no_thread(cloud: EmbeddedCloud, face: Face) -> None:
    taken = quick_settings(cloud, web={"listen_address": face.url.removeprefix("http://")})
    before = own_threads()
    daemon = Daemon(taken, clock=SystemClock())

    with pytest.raises(Exception, match=r"cannot listen on .*: Address already in use"):
        daemon.start()
    daemon.stop()

    # The other daemon, which goes on, may start threads of its agents meanwhile.
    until(lambda: not [one for one in own_threads() - before if not one.name.startswith("spotd agent")])


def test_two_daemons_in_one_process_do_not_meet(cloud: EmbeddedCloud, settings: Settings) -> None:
    with running(settings) as one, running(quick_settings(cloud, cache={"snapshot_seconds": 2.0})) as other:
        one.settle()
        other.settle()
        one.get("/-/ready")
        told = [face.scrape().get("spotd_fleet_hosts") for face in (one, other)]
        counted = [face.scrape().get("spotd_collections_total") or 0 for face in (one, other)]
        until(lambda: one.collections() >= counted[0] + 3)
        between = other.collections() - counted[1]

    assert told == [len(names(cloud))] * 2
    assert between <= 3
