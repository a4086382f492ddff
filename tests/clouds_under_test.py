"""Runs a region against the embedded cloud, with clocks that move only when they are told."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from standing import Clock

from spotd.agents.state import AgentName, AgentState
from spotd.clouds.transport import unobserved
from spotd.daemon.region import Region, build_region
from spotd.fleet.snapshot import FleetSnapshot
from spotd.settings.models import Settings
from spotd.sim import EmbeddedCloud
from spotd.sim.http import ServiceServer

ALL_AGENTS = frozenset(AgentName)
MAX_AGE_SECONDS = 300.0
PATIENCE_SECONDS = 10.0


class StandingClock(Clock):
    """Callable, so that the embedded cloud can have it too.

    It starts at the machine's time, since keystoneauth compares tokens with that.
    """

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.time


@dataclass
class Recorder:
    """Writes down what a collection tells."""

    ran: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    requested: list[tuple[str, bool]] = field(default_factory=list)

    def agent_ran(self, agent: str, seconds: float, items: Mapping[str, int]) -> None:
        self.ran.append(agent)

    def agent_failed(self, agent: str, seconds: float, reason: str) -> None:
        self.failed.append((agent, reason))

    def agent_skipped(self, agent: str, reason: str) -> None:
        self.skipped.append((agent, reason))

    def collection_finished(self, seconds: float, speedup: float, hosts_per_second: float) -> None:
        pass

    def cache_requested(self, layer: str, *, hit: bool) -> None:
        self.requested.append((layer, hit))


@dataclass
class Watched:
    """A region over an embedded cloud."""

    region: Region
    clock: StandingClock
    recorder: Recorder

    def collect(self, *, force: frozenset[AgentName] = ALL_AGENTS) -> FleetSnapshot:
        """One collection with every agent at its end."""
        self.region.collection.collect(force=force)
        self.until(lambda: self.region.collection.pool_state()[1] == 0)
        return self.region.collection.publish()

    def steady(self) -> FleetSnapshot:
        """One collection as the daemon makes them."""
        return self.collect(force=frozenset())

    def settle(self, *, force: frozenset[AgentName] = ALL_AGENTS) -> FleetSnapshot:
        """Collects until the walk over all servers is taken in."""
        self.collect(force=force)
        self.until(lambda: self.steady().readings.servers is not None and self.region.servers.walked is None)
        return self.snapshot()

    def snapshot(self) -> FleetSnapshot:
        """The last snapshot."""
        found = self.region.collection.latest()
        assert found is not None
        return found

    def state(self, agent: AgentName) -> AgentState:
        """One agent's health."""
        return next(state for state in self.region.collection.states() if state.agent is agent)

    def until(self, reached: Callable[[], Any]) -> None:
        """Waits for a thread of the region."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < end, "it never came"
            time.sleep(0.005)


def settings_of(cloud: EmbeddedCloud, **changes: Mapping[str, Any]) -> Settings:
    """Settings with short times; `changes` are merged into their groups."""
    groups: dict[str, dict[str, Any]] = {
        "openstack": {"cloud": "embedded", "request_timeout_seconds": 0.8, "connect_timeout_seconds": 0.8},
        "cache": {
            "snapshot_seconds": 2.0,
            "netbox_seconds": 10.0,
            "aggregates_seconds": 10.0,
            "netbox_max_age_seconds": MAX_AGE_SECONDS,
            "aggregates_max_age_seconds": MAX_AGE_SECONDS,
            "servers_max_age_seconds": MAX_AGE_SECONDS,
            "gpus_max_age_seconds": MAX_AGE_SECONDS,
        },
        "collection": {"agent_deadline_seconds": 2.0},
    }
    if cloud.size.netbox:
        groups["netbox"] = {
            "url": cloud.netbox_url,
            "token": cloud.netbox_token,
            "request_timeout_seconds": 0.8,
            "full_resync_seconds": 1.0,
        }
    for name, values in changes.items():
        groups[name] = {**groups.get(name, {}), **values}
    return Settings.model_validate(groups)


@contextmanager
def watching(
    cloud: EmbeddedCloud,
    *,
    settings: Settings | None = None,
    clock: StandingClock | None = None,
    clouds_yaml: Mapping[str, Any] | None = None,
    observer: Callable[[str, str, str, float, int], None] = unobserved,
    **more: Any,
) -> Iterator[Watched]:
    """A region over this cloud, closed at the end."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clouds.yaml"
        path.write_text(yaml.safe_dump(clouds_yaml or cloud.clouds_yaml()))
        before = os.environ.get("OS_CLIENT_CONFIG_FILE")
        os.environ["OS_CLIENT_CONFIG_FILE"] = str(path)
        try:
            watched = Watched(
                region=None,  # type: ignore[arg-type]
                clock=clock or StandingClock(),
                recorder=Recorder(),
            )
            watched.region = build_region(
                settings or settings_of(cloud),
                clock=watched.clock,
                recorder=watched.recorder,
                observer=observer,
                **more,
            )
        finally:
            if before is None:
                del os.environ["OS_CLIENT_CONFIG_FILE"]
            else:
                os.environ["OS_CLIENT_CONFIG_FILE"] = before
    try:
        yield watched
    finally:
        cloud.faults.clear()
        watched.region.close()


def refuse_connections(cloud: EmbeddedCloud, service: str) -> Callable[[], None]:
    """Closes a service's port; what is returned opens the same one again."""
    old = cloud._servers[service]
    port = old.server_address[1]
    old.close()

    class SamePort(ServiceServer):
        def server_bind(self) -> None:
            self.server_address = ("127.0.0.1", port)
            super().server_bind()

    def reopen() -> None:
        opened = SamePort(service, old.serve_call, cloud.faults, cloud.requests)
        opened.url = old.url
        opened.start()
        cloud._servers[service] = opened

    return reopen
