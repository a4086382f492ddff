"""What agents are given in unit tests: a clock that stands, a recorder, and server and device values."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from spotd.fleet.values import Device, Flavor, Server

START = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Moves only when told."""

    time: datetime = START
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


@dataclass
class Recorder:
    """Writes down what it is told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def agent_ran(self, agent: str, seconds: float, items: Any) -> None:
        self.told.append(("ran", agent))

    def agent_failed(self, agent: str, seconds: float, reason: str) -> None:
        self.told.append(("failed", agent, reason))

    def agent_skipped(self, agent: str, reason: str) -> None:
        self.told.append(("skipped", agent, reason))

    def collection_finished(self, seconds: float, speedup: float, hosts_per_second: float) -> None:
        self.told.append(("finished",))

    def cache_requested(self, layer: str, *, hit: bool) -> None:
        self.told.append(("hit" if hit else "miss", layer))


def server(number: int, host: str | None = "h1", **fields: Any) -> Server:
    """A settled server."""
    given: dict[str, Any] = {
        "id": f"s{number}",
        "name": f"vm-{number}",
        "host": host,
        "hypervisor_hostname": host,
        "status": "ACTIVE",
        "task_state": None,
        "project_id": "p",
        "flavor": Flavor(name="f"),
        "updated": "2030-01-01T00:00:00Z",
    }
    return Server(**{**given, **fields})


def device(number: int, **fields: Any) -> Device:
    """An active device."""
    unset = dict.fromkeys(("role", "site", "rack", "tenant", "tenant_group", "nvlink", "gpu_count"))
    return Device(**{**unset, "id": number, "name": f"d{number}", "status": "active", "tags": (), **fields})
