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
    """Hypervisors whose servers changed, told by the servers agent to the GPUs agent in one collection.

    A one-time handover: the teller calls `tell` or `give_up`, the listener waits a bounded time.
    """

    def __init__(self, *, is_gapless: bool = True) -> None:
        """`is_gapless` False: the listener missed an earlier handover, so that this one is not all."""
        self._told = Event()
        self._is_gapless = is_gapless
        self._hypervisors: frozenset[str] | None = None

    def tell(self, hypervisors: frozenset[str]) -> None:
        """The servers reading is whole and the servers of these hypervisors changed."""
        self._hypervisors = hypervisors
        self._told.set()

    def give_up(self) -> None:
        """There will be no answer."""
        self._told.set()

    def wait(self, seconds: float) -> frozenset[str] | None:
        """The hypervisors; None where not all of them are known in time."""
        if not self._is_gapless:
            return None
        self._told.wait(seconds)
        return self._hypervisors
