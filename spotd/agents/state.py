"""What is remembered of an agent's runs, and how a run tells its outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from threading import Event

from spotd.fleet.readings import Reading, Source


class AgentName(StrEnum):
    """The four agents."""

    NETBOX = "netbox"
    AGGREGATES = "aggregates"
    SERVERS = "servers"
    GPUS = "gpus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run brought: whole readings by source, and how many items each holds."""

    readings: Mapping[Source, Reading[object]]
    items: Mapping[str, int] = field(default_factory=dict)
    from_cache: bool = False
    """True where the cached reading was still fresh and nothing was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentState:
    """An agent's health; failures are remembered after the next success."""

    agent: AgentName
    running_since: datetime | None = None
    last_run: datetime | None = None
    last_success: datetime | None = None
    last_failure: datetime | None = None
    last_failure_reason: str | None = None
    last_failure_message: str | None = None
    duration_seconds: float | None = None
    """Of the last finished run."""
    succeeded: bool | None = None
    """Whether the last finished run succeeded; None before the first."""
    retry_at: datetime | None = None
    """The cloud asked not to be asked before then (429 with Retry-After)."""


class Changes:
    """Hosts whose servers changed in this collection, told by the servers agent to the GPUs agent.

    A one-time handover: the teller calls `tell` or `give_up`, the listener waits a bounded time.
    """

    def __init__(self) -> None:
        self._told = Event()
        self._hosts: frozenset[str] | None = None

    def tell(self, hosts: frozenset[str]) -> None:
        """The servers reading is whole and these hosts' servers changed."""
        self._hosts = hosts
        self._told.set()

    def give_up(self) -> None:
        """There will be no answer."""
        self._told.set()

    def wait(self, seconds: float) -> frozenset[str] | None:
        """The changed hosts; None where they are not known in time."""
        self._told.wait(seconds)
        return self._hosts
