"""`spotd run` as systemd starts it: a process of its own, signals, sd_notify, exit codes and the log."""

import json
import resource
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from daemons import Face, Process, environment, finished, process, write_clouds_file
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as started:
        yield started


@pytest.fixture
def environ(cloud: EmbeddedCloud, tmp_path: Path) -> Iterator[dict[str, str]]:
    yield environment(write_clouds_file(cloud, tmp_path))
    cloud.faults.clear()


@pytest.fixture
def file(cloud: EmbeddedCloud, tmp_path: Path) -> Path:
    path = tmp_path / "spotd.yml"
    write(path, cloud)
    return path


def write(path: Path, cloud: EmbeddedCloud, **groups: Mapping[str, object]) -> None:
    document: dict[str, Mapping[str, object]] = {
        "netbox": {"url": cloud.netbox_url, "token": cloud.netbox_token},
        "cache": {"snapshot_seconds": 1},
        "web": {"listen_address": "127.0.0.1:0"},
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document | groups))  # JSON is YAML


class Systemd:
    """The other end of `$NOTIFY_SOCKET`."""

    def __init__(self, directory: str) -> None:
        self.address = f"{directory}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.address)
        self.socket.settimeout(15)

    def next_but_status(self) -> dict[str, str]:
        """The next message that is more than a status line or a sign of life."""
        while True:
            message = self.next()
            if set(message) not in ({"STATUS"}, {"WATCHDOG"}):
                return message

    def next(self) -> dict[str, str]:
        text = self.socket.recv(65536).decode()
        pairs = (line.partition("=") for line in text.splitlines())
        return {key: value for key, _, value in pairs}


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with tempfile.TemporaryDirectory(prefix="spotd") as directory:
        made = Systemd(directory)
        yield made
        made.socket.close()


def test_tells_systemd_each_step_and_leaves_with_0(
    cloud: EmbeddedCloud, environ: dict[str, str], file: Path, systemd: Systemd
) -> None:
    environ |= {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "900000"}

    with process("run", "--config.file", str(file), environ=environ) as running:
        ready = systemd.next_but_status()
        asked_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        running.send(signal.SIGHUP)
        reloading, again = systemd.next_but_status(), systemd.next_but_status()
        alive = [systemd.next() for _ in range(6)]
        running.send(signal.SIGTERM)
        stopping = systemd.next_but_status()
        code = running.left(seconds=5)

    assert ready["READY"] == "1"
    assert ready["STATUS"].startswith("watching embedded/RegionOne, listening on 127.0.0.1:")
    assert reloading["RELOADING"] == "1"
    assert 0 <= int(reloading["MONOTONIC_USEC"]) - asked_at < 5_000_000
    assert again == {"READY": "1", "STATUS": "reloaded"}
    assert {"WATCHDOG": "1"} in alive
    assert any("the snapshot is" in message.get("STATUS", "") for message in alive)
    assert stopping == {"STOPPING": "1"}
    assert (code, running.out) == (0, [])


def test_reloads_at_sighup_and_keeps_the_old_configuration_when_the_new_is_bad(
    cloud: EmbeddedCloud, environ: dict[str, str], file: Path
) -> None:
    with process("run", "--config.file", str(file), environ=environ) as running:
        face = running.face()
        face.settle()
        write(file, cloud, cache={"snapshot_seconds": 0})
        running.send(signal.SIGHUP)
        refused = running.event("configuration not reloaded")
        told = face.scrape().get("spotd_config_last_reload_successful")
        write(file, cloud, log={"level": "error"})
        for _ in range(20):  # more than one at a time must neither be lost nor stop it
            running.send(signal.SIGHUP)
        until(lambda: face.scrape().get("spotd_config_last_reload_successful") == 1)
        count = len(running.err)
        face.collect_again(2)
        running.send(signal.SIGINT)
        code = running.left(seconds=5)
        collected = [event for event in running.events()[count + 20 :] if event["event"] == "collected"]

    assert f"{file}:1: cache.snapshot_seconds" in refused["error"]
    assert told == 0
    assert collected == [], "the new level was not taken up"
    assert (code, running.out) == (0, [])


def test_its_status_says_that_a_reload_was_refused_until_one_is_good(
    cloud: EmbeddedCloud, environ: dict[str, str], file: Path, systemd: Systemd
) -> None:
    environ |= {"NOTIFY_SOCKET": systemd.address}

    def status_after_collecting() -> str:
        return until(
            lambda: next((text for text in systemd.next().values() if "the snapshot is" in text), "")
        )

    with process("run", "--config.file", str(file), environ=environ) as running:
        systemd.next_but_status()
        write(file, cloud, cache={"snapshot_seconds": 0})
        running.send(signal.SIGHUP)
        refused = [systemd.next_but_status() for _ in range(2)][1]
        afterwards = [status_after_collecting() for _ in range(2)]
        write(file, cloud)
        running.send(signal.SIGHUP)
        good = [systemd.next_but_status() for _ in range(2)][1]
        at_last = [status_after_collecting() for _ in range(2)][1]

    assert refused["STATUS"].startswith(f"kept the old configuration: {file}:1: cache.snapshot_seconds")
    assert all(text.endswith(refused["STATUS"]) for text in afterwards)
    assert good["STATUS"] == "reloaded"
    assert "kept the old" not in at_last


def test_the_log_is_json_with_a_line_for_each_collection_and_none_for_a_host(
    environ: dict[str, str], file: Path
) -> None:
    with process("run", "--config.file", str(file), environ=environ) as running:
        face = running.face()
        face.settle()
        collections = face.collect_again(2).get("spotd_collections_total") or 0
        running.send(signal.SIGTERM)
        code = running.left(seconds=5)

    events = [event["event"] for event in running.events()]
    assert code == 0
    assert abs(events.count("collected") - collections) <= 1
    assert set(events) == {"started", "collected", "all servers walked", "stopped"}
    assert len(events) <= collections + 4
    assert all({"timestamp", "level", "logger"} <= set(event) for event in running.events())
    assert running.out == []


def test_leaves_within_seconds_while_every_cloud_hangs(
    cloud: EmbeddedCloud, environ: dict[str, str], file: Path
) -> None:
    cloud.faults.add(Fault(kind=FaultKind.HANG))

    with process("run", "--config.file", str(file), environ=environ) as running:
        face = running.face()
        until(lambda: face.scrape().get("spotd_thread_pool_busy") == 4)
        began = time.monotonic()
        running.send(signal.SIGTERM)
        code = running.left(seconds=10)
        took = time.monotonic() - began

    assert code == 0
    assert took < 5


def test_without_descriptors_it_goes_on_collecting_and_accepts_again_when_there_are_some(
    environ: dict[str, str], file: Path
) -> None:
    with process("run", "--config.file", str(file), environ=environ) as running:
        face = running.face()
        face.settle()
        host, _, port = face.url.removeprefix("http://").rpartition(":")
        pid, before = running.popen.pid, len(running.events())
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (held + 3, hard))
        with ExitStack() as stack:
            for number in range(2, 32):
                source = (f"127.0.0.{number}", 0)
                stack.enter_context(socket.create_connection((host, int(port)), source_address=source))
            running.event("no connection is accepted for lack of descriptors")
            collected = [event["event"] for event in running.events()].count("collected")
            until(lambda: [event["event"] for event in running.events()].count("collected") > collected + 1)
        until(lambda: _is_answered(face), seconds=20)

        told = running.events()[before:]

    assert [event["failed"] for event in told if event["event"] == "collected" and event["failed"]] == []
    assert len([event for event in told if "lack of descriptors" in event["event"]]) == 1


def _is_answered(face: Face) -> bool:
    try:
        return face.get("/-/healthy", seconds=2).status_code == 200
    except requests.RequestException:
        return False


def test_an_address_in_use_is_one_line_and_exit_1(environ: dict[str, str], file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = finished("run", "--config.file", str(file), "--web.listen-address", address, environ=environ)

    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert (done.returncode, done.stdout) == (1, "")
    assert lines == [f"spotd: cannot listen on {address}: Address already in use"]
    assert "Traceback" not in done.stderr


def test_a_state_directory_brings_the_next_process_up_warm(
    cloud: EmbeddedCloud, environ: dict[str, str], file: Path, tmp_path: Path
) -> None:
    environ |= {"STATE_DIRECTORY": str(tmp_path / "state")}

    def told(running: Process, *, settled: bool) -> float | None:
        face: Face = running.face()
        if settled:
            face.settle()
        hosts = face.scrape().get("spotd_fleet_hosts")
        running.send(signal.SIGTERM)
        assert running.left(seconds=5) == 0
        return hosts

    with process("run", "--config.file", str(file), environ=environ) as first:
        before = told(first, settled=True)
    cloud.faults.add(Fault(kind=FaultKind.HANG))
    with process("run", "--config.file", str(file), environ=environ) as second:
        after = told(second, settled=False)

    assert before is not None
    assert before == after
