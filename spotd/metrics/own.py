"""Everything that spotd tells about itself: one object that other rooms are given to report to.

Its methods are called from any thread and never wait for anything but each other.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric

from spotd.clock import Clock
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics import own_names as names
from spotd.metrics.acting_names import ACTING_METRICS
from spotd.metrics.acting_own import ActingMetrics, ActingState
from spotd.metrics.agents_own import AgentMetrics
from spotd.metrics.counting import collected, counter_of
from spotd.metrics.fleet import FleetCollector
from spotd.metrics.traffic_own import CloudMetrics, HttpMetrics
from spotd.metrics.upkeep_own import CacheMetrics, CacheState, PoolMetrics, PoolState, UpkeepMetrics
from spotd.planning.plan import Plan
from spotd.store.records import MoveRecord

log = structlog.get_logger(__name__)


class _Part(Protocol):
    def collect(self) -> Iterable[Metric]: ...


class Metrics:
    """What `/metrics` is made of: `registry` holds what spotd tells of itself, `fleet` the snapshot's part.

    `fleet` is no member of the registry, so that its text, which changes with the snapshot only, can be
    kept from one scrape to the next. `agents` are the configured ones. `cache_state`, `pool_state`,
    `abandoned_calls` and `acting_state` are asked at each scrape and must not wait.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        latest: Callable[[], FleetSnapshot | None],
        clock: Clock,
        *,
        agents: Iterable[str] = (),
        cache_state: Callable[[], CacheState] = dict,
        pool_state: Callable[[], PoolState | None] = lambda: None,
        abandoned_calls: Callable[[], int | None] = lambda: None,
        acting_state: Callable[[], ActingState | None] = lambda: None,
    ) -> None:
        self.registry = registry
        self.fleet = FleetCollector(latest, self._found_duplicates)
        self._agents = AgentMetrics(clock)
        self._cache = CacheMetrics(cache_state)
        self._clouds = CloudMetrics()
        self._http = HttpMetrics()
        self._upkeep = UpkeepMetrics(clock)
        self._acting = ActingMetrics(clock, acting_state)
        self._duplicates = counter_of(names.METRICS_DUPLICATES)
        self._errors = counter_of(names.METRICS_ERRORS)
        self._parts: Mapping[str, _Part] = {
            "acting": self._acting,
            "agents": self._agents,
            "cache": self._cache,
            "clouds": self._clouds,
            "http": self._http,
            "pool": PoolMetrics(pool_state, abandoned_calls),
            "upkeep": self._upkeep,
        }
        for part in ("fleet", *self._parts):
            self._errors.labels(part)
        self._agents.configured(agents)
        registry.register(self)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def describe(self) -> Iterable[Metric]:
        """Every family of spotd's own that `collect` may return, empty."""
        return [description.family() for description in (*names.OWN_METRICS, *ACTING_METRICS)]

    def collect(self) -> Iterator[Metric]:
        """The families of spotd's own; a part that fails is left out, logged and counted."""
        for name, part in self._parts.items():
            try:
                families = list(part.collect())
            except Exception as error:  # noqa: BLE001 - the edge of a scrape: one part harms no other
                self.part_failed(name, error)
                continue
            yield from (family for family in families if family.samples)
        yield from collected(self._duplicates, self._errors)

    def part_failed(self, part: str, error: Exception) -> None:
        """A part of the metrics could not be read and is left out of this scrape."""
        log.error("part of the metrics left out", part=part, exc_info=error)
        self._errors.labels(part).inc()

    def _found_duplicates(self, count: int) -> None:
        log.warning("samples with equal labels left out", count=count)
        self._duplicates.inc(count)

    def agents_configured(self, agents: Iterable[str]) -> None:
        """These agents may run from now on; the series of all others end."""
        self._agents.configured(agents)

    def agent_ran(self, agent: str, seconds: float, items: Mapping[str, int]) -> None:
        """An agent's run brought a whole answer that holds `items` by kind."""
        self._agents.ran(agent, seconds, items)

    def agent_failed(self, agent: str, seconds: float, reason: str) -> None:
        """An agent's run brought no whole answer; `reason` is one of `FAILURE_REASONS`."""
        self._agents.failed(agent, seconds, reason)

    def agent_skipped(self, agent: str, reason: str) -> None:
        """A collection did not run the agent; `reason` is one of `SKIP_REASONS`."""
        self._agents.skipped(agent, reason)

    def collection_finished(self, seconds: float, speedup: float, hosts_per_second: float) -> None:
        """A collection ended with a snapshot."""
        self._agents.collection_finished(seconds, speedup, hosts_per_second)

    def collection_missed(self, reason: str) -> None:
        """A collection that was due brought no snapshot; `reason` is one of `MISS_REASONS`."""
        self._agents.collection_missed(reason)

    def cache_requested(self, layer: str, *, hit: bool) -> None:
        """A cache layer was asked for its answer; `hit`: it had one that was young enough."""
        self._cache.requested(layer, hit=hit)

    def cache_counts(self, layer: str) -> tuple[int, int]:
        """How often the layer was asked since the start, and how often it had an answer."""
        return self._cache.counts(layer)

    def cloud_answered(
        self, service: str, operation: str, code: str, seconds: float, received_bytes: int
    ) -> None:
        """A request to a cloud ended; `code` is an HTTP status or one of `FAILURE_REASONS`."""
        self._clouds.answered(service, operation, code, seconds, received_bytes)

    def http_answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """Spotd answered a request; `route` is the template or `unmatched`, never the path."""
        self._http.answered(route, method, code, seconds)

    def http_refused(self, reason: str) -> None:
        """Spotd ended a connection or a request unhandled; `reason` is one of `REFUSED_REASONS`."""
        self._http.refused(reason)

    def job_ran(self, job: str) -> None:
        """A scheduled job ended."""
        self._upkeep.job_ran(job)

    def job_missed(self, job: str) -> None:
        """A scheduled job was due and not run."""
        self._upkeep.job_missed(job)

    def reloaded(self, *, ok: bool) -> None:
        """The configuration was read, or refused and the old one kept."""
        self._upkeep.reloaded(ok=ok)

    def move_stepped(self, record: MoveRecord, step: str, phase: str, outcome: str, seconds: float) -> None:  # noqa: ARG002
        """A step of a move ended."""
        self._acting.move_stepped(record, step, phase, seconds)

    def move_ended(self, record: MoveRecord) -> None:
        """A move ended, in whatever state."""
        self._acting.move_ended(record)

    def rules_loaded(self, ok: bool, mode: str | None) -> None:  # noqa: FBT001 - the metric's own value
        """The rules were read, or refused and the old ones kept."""
        self._acting.rules_loaded(ok=ok, mode=mode)

    def planned(self, plan: Plan, budgets: Mapping[str, int]) -> None:
        """A plan was made; `budgets` has the moves that are left, by rule."""
        self._acting.planned(plan, budgets)

    def decided(self, rule: str, decision: str, reason: str, count: int = 1) -> None:
        """A decision was made or changed."""
        self._acting.decided(rule, decision, reason, count)

    def cycle_ended(self, outcome: str, seconds: float) -> None:
        """A rebalance cycle ended."""
        self._acting.cycle_ended(outcome, seconds)
