"""What is told of agents and collections."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from spotd.clock import Clock
from spotd.metrics import own_names as names
from spotd.metrics.counting import collected, counter_of, one_of
from spotd.metrics.description import filled

FAILURE_REASONS = frozenset(
    {
        *(
            "timeout",
            "connection",
            "tls",
            "unauthorized",
            "forbidden",
            "not_found",
            "microversion",
            "conflict",
        ),
        *("refused", "rate_limited", "server_error", "malformed", "incomplete", "not_in_catalog"),
        *("configuration", "unexpected", "other"),
    }
)
"""Why a run brought no whole answer."""
SKIP_REASONS = frozenset({"running", "asked_to_wait", "fresh", "other"})
"""Why an agent was not run in a collection."""
MISS_REASONS = frozenset({"overlapped", "late", "failed", "other"})
"""Why a collection that was due brought no snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastRun:
    """The last run of an agent; what it does not tell stays from the run before."""

    succeeded: bool
    seconds: float
    success_at: float | None = None
    items: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastCollection:
    seconds: float
    speedup: float
    hosts_per_second: float


class AgentMetrics:
    """Counts runs and remembers the last one of each agent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._configured: set[str] = set()
        self._last_runs: dict[str, _LastRun] = {}
        self._last_collection: _LastCollection | None = None
        self._runs = counter_of(names.AGENT_RUNS)
        self._failures = counter_of(names.AGENT_FAILURES)
        self._skipped = counter_of(names.AGENT_SKIPPED)
        self._collections = counter_of(names.COLLECTIONS)
        self._missed = counter_of(names.COLLECTIONS_MISSED)
        for reason in MISS_REASONS:
            self._missed.labels(
                reason
            )  # a counter that begins at its first event hides that event from `increase`

    def configured(self, agents: Iterable[str]) -> None:
        """Names the agents that may run: their counters start at zero, the series of all others end."""
        wanted = set(agents)
        with self._lock:
            gone, self._configured = self._configured - wanted, wanted
            self._last_runs = {agent: run for agent, run in self._last_runs.items() if agent in wanted}
        for agent in gone:
            self._runs.remove(agent)
            for reason in FAILURE_REASONS:
                self._failures.remove(agent, reason)
            for reason in SKIP_REASONS:
                self._skipped.remove(agent, reason)
        for agent in sorted(wanted):
            self._runs.labels(agent)
            for reason in sorted(FAILURE_REASONS):
                self._failures.labels(agent, reason)

    def _is_configured(self, agent: str) -> bool:
        """False once the configuration dropped the agent of a run that still ended; unnamed, all are."""
        return not self._configured or agent in self._configured

    def ran(self, agent: str, seconds: float, items: Mapping[str, int]) -> None:
        """A run brought a whole answer that holds `items` by kind."""
        if not self._is_configured(agent):
            return
        run = _LastRun(
            succeeded=True, seconds=seconds, success_at=self._clock.now().timestamp(), items=dict(items)
        )
        self._runs.labels(agent).inc()
        with self._lock:
            self._last_runs[agent] = run

    def failed(self, agent: str, seconds: float, reason: str) -> None:
        """A run brought no whole answer."""
        if not self._is_configured(agent):
            return
        self._runs.labels(agent).inc()
        self._failures.labels(agent, one_of(reason, FAILURE_REASONS)).inc()
        with self._lock:
            before = self._last_runs.get(agent)
            self._last_runs[agent] = _LastRun(
                succeeded=False,
                seconds=seconds,
                success_at=before.success_at if before else None,
                items=before.items if before else {},
            )

    def skipped(self, agent: str, reason: str) -> None:
        """A collection did not run the agent."""
        if not self._is_configured(agent):
            return
        self._skipped.labels(agent, one_of(reason, SKIP_REASONS)).inc()

    def collection_finished(self, seconds: float, speedup: float, hosts_per_second: float) -> None:
        """A collection ended with a snapshot."""
        self._collections.inc()
        self._last_collection = _LastCollection(
            seconds=seconds, speedup=speedup, hosts_per_second=hosts_per_second
        )

    def collection_missed(self, reason: str) -> None:
        """A collection that was due brought no snapshot."""
        self._missed.labels(one_of(reason, MISS_REASONS)).inc()

    def collect(self) -> Iterator[Metric]:
        """The families, some of them empty."""
        with self._lock:
            runs = dict(self._last_runs)
        yield filled(names.AGENT_SUCCESS, ((run.succeeded, agent) for agent, run in runs.items()))
        yield filled(names.AGENT_DURATION, ((run.seconds, agent) for agent, run in runs.items()))
        yield filled(names.AGENT_LAST_SUCCESS, ((run.success_at, agent) for agent, run in runs.items()))
        yield from collected(self._runs, self._failures, self._skipped)
        yield filled(
            names.AGENT_ITEMS,
            ((number, agent, kind) for agent, run in runs.items() for kind, number in run.items.items()),
        )
        if (last := self._last_collection) is not None:
            yield filled(names.COLLECTION_DURATION, [(last.seconds,)])
            yield filled(names.COLLECTION_SPEED, [(last.hosts_per_second,)])
            yield filled(names.COLLECTION_SPEEDUP, [(last.speedup,)])
        yield from collected(self._collections, self._missed)
