"""Daemons to look at from outside, in this process or in one of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from clouds_under_test import settings_of
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

from spotd.clock import SystemClock
from spotd.daemon.daemon import Daemon
from spotd.planning.rules import Rules
from spotd.settings.models import Settings
from spotd.sim import EmbeddedCloud
from spotd.sim.http import ServiceServer
from spotd.store.store import Store
from spotd.web.api.auth import hash_of, new_token

SPOTD = (sys.executable, "-X", "faulthandler", "-m", "spotd")
ADMIN = new_token()
"""What `Face.reload` shows."""
ADMINS_TOKENS = [{"name": "tests", "role": "admin", "hash": hash_of(ADMIN)}]
"""`api.tokens` of a daemon that takes it."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Scraped:
    """What one scrape told: values by name, and there by labels."""

    values: Mapping[str, Mapping[frozenset[tuple[str, str]], float]]

    def get(self, name: str, **labels: str) -> float | None:
        """The value of the series with these labels among its own; None where there is none."""
        wanted = set(labels.items())
        found = [value for have, value in self.values.get(name, {}).items() if wanted <= have]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def series(self, prefix: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """All values whose names begin so."""
        return {
            (name, labels): value
            for name, rows in self.values.items()
            if name.startswith(prefix)
            for labels, value in rows.items()
        }

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of each series of this name."""
        return [dict(labels) for labels in self.values.get(name, {})]


@dataclass(frozen=True)
class Face:
    """The HTTP face of a daemon."""

    url: str

    def get(self, path: str, *, seconds: float = 5.0) -> requests.Response:
        return requests.get(f"{self.url}{path}", timeout=seconds)

    def scrape(self, *, seconds: float = 5.0) -> Scraped:
        answer = self.get("/metrics", seconds=seconds)
        assert answer.status_code == 200
        values: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return Scraped(values)

    def is_ready(self) -> bool:
        return self.get("/-/ready").status_code == 200

    def collections(self) -> float:
        return self.scrape().get("spotd_collections_total") or 0.0

    def settle(self) -> None:
        """Waits until it is ready and all servers are known."""
        until(lambda: self.is_ready() and self.scrape().get("spotd_fleet_servers") is not None, seconds=60)

    def collect_again(self, times: int = 1) -> Scraped:
        """What it tells after so many more collections; the first may have begun before."""
        goal = self.collections() + times
        until(lambda: self.collections() >= goal, seconds=60)
        return self.scrape()

    def reload(self) -> requests.Response:
        return requests.post(f"{self.url}/-/reload", headers={"X-Auth-Token": ADMIN}, timeout=10)


@dataclass
class Configuration:
    """The settings that the next reload reads; an exception stands for a bad file."""

    now: Settings | Exception

    def load(self) -> Settings:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


def quick_settings(cloud: EmbeddedCloud, **changes: Mapping[str, Any]) -> Settings:
    """A period of 1 s on a free port, and a token of an admin."""
    groups: dict[str, Mapping[str, Any]] = {
        "api": {"tokens": ADMINS_TOKENS},
        "web": {"listen_address": "127.0.0.1:0"},
        "cache": {"snapshot_seconds": 1.0, "aggregates_seconds": 1.0, "netbox_seconds": 1.0},
    }
    for name, values in changes.items():
        groups[name] = {**groups.get(name, {}), **values}
    return settings_of(cloud, **groups)


@contextmanager
def running(
    settings: Settings,
    *,
    load: Callable[[], Settings] | None = None,
    directory: Path | None = None,
    store: Store | None = None,
    rules: Rules | None = None,
) -> Iterator[Face]:
    """A daemon in this process; the cloud named `embedded` comes from `OS_CLIENT_CONFIG_FILE`."""
    daemon = Daemon(settings, clock=SystemClock(), load=load, directory=directory, store=store, rules=rules)
    try:
        daemon.start()
        yield Face(f"http://{daemon.web.address}")
    finally:
        daemon.stop()


def own_threads() -> set[threading.Thread]:
    """Threads that are not the embedded cloud's."""
    return {
        thread
        for thread in threading.enumerate()
        if not thread.name.startswith("sim-") and "process_request_thread" not in thread.name
    }


def write_clouds_file(cloud: EmbeddedCloud, directory: Path, **auth: str) -> Path:
    """A clouds.yaml for the cloud, with changes to its `auth`."""
    document = cloud.clouds_yaml()
    document["clouds"]["embedded"]["auth"].update(auth)
    path = directory / "clouds.yaml"
    path.touch(mode=0o600)
    path.write_text(json.dumps(document))  # JSON is YAML
    return path


def environment(clouds_file: Path, **more: str) -> dict[str, str]:
    """The environment of a process that shall know only this cloud."""
    hidden = ("OS_", "SPOTD_", "NOTIFY_SOCKET", "WATCHDOG_", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return kept | {"OS_CLIENT_CONFIG_FILE": str(clouds_file), "SPOTD_OPENSTACK__CLOUD": "embedded"} | more


@dataclass
class Process:
    """A `spotd` of its own; its output is read in the background."""

    popen: "subprocess.Popen[str]"
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)
    readers: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        for stream, lines in ((self.popen.stdout, self.out), (self.popen.stderr, self.err)):
            assert stream is not None
            reader = threading.Thread(target=_read, args=(stream, lines), daemon=True)
            reader.start()
            self.readers.append(reader)

    def events(self) -> list[dict[str, Any]]:
        """The log so far; every line must be JSON."""
        return [json.loads(line) for line in list(self.err)]

    def event(self, name: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """The first event of this name, waited for."""

        def found() -> dict[str, Any] | None:
            assert self.popen.poll() is None or any(name in line for line in self.err), self.err
            return next((event for event in self.events() if event["event"] == name), None)

        event = until(found, seconds=seconds, why=f"no event {name!r}")
        assert event is not None
        return event

    def face(self) -> Face:
        """Its HTTP face, once it listens."""
        return Face(f"http://{self.event('started')['listen_address']}")

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def left(self, *, seconds: float = 10.0) -> int:
        """Its exit code, with all output read."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # with faulthandler it tells where each thread is
            self.popen.wait(5)
            raise AssertionError("it did not leave: " + "".join(self.err)) from None
        for reader in self.readers:
            reader.join(5)
        return code


def _read(stream: Any, lines: list[str]) -> None:
    for line in iter(stream.readline, ""):
        lines.append(line)  # noqa: PERF402 - as each comes, not at the end


@contextmanager
def process(
    *arguments: str, environ: Mapping[str, str], program: tuple[str, ...] = SPOTD
) -> Iterator[Process]:
    """Runs `spotd` with these arguments; killed at the end where it still runs."""
    popen = subprocess.Popen(
        [*program, *arguments],
        env=dict(environ),
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started = Process(popen)
    try:
        yield started
    finally:
        if popen.poll() is None:
            popen.kill()
        started.left()
        for stream in (popen.stdout, popen.stderr):
            assert stream is not None
            stream.close()


def finished(
    *arguments: str, environ: Mapping[str, str], program: tuple[str, ...] = SPOTD
) -> "subprocess.CompletedProcess[str]":
    """Runs a command of `spotd` to its end."""
    return subprocess.run(
        [*program, *arguments],
        env=dict(environ),
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


def move_service(cloud: EmbeddedCloud, service: str, service_type: str, suffix: str = "") -> None:
    """Closes a service and opens it on another port, as the catalog tells from then on."""
    old = cloud._servers[service]
    moved = ServiceServer(service, old.serve_call, cloud.faults, cloud.requests)
    moved.start()
    cloud._servers[service] = moved
    cloud.world.identity.move_endpoint(service_type, moved.url + suffix)
    old.close()
