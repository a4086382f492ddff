"""One collection: the four agents side by side, and the snapshot joined from what is known.

An agent that hangs keeps only itself waiting: the others publish, the next collection starts without it,
and it comes back in when its call ends, which its deadline sees to.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from spotd.agents.belief import Belief
from spotd.agents.cache import CacheLayer
from spotd.agents.health import Health
from spotd.agents.history import History
from spotd.agents.recorder import CollectionRecorder
from spotd.agents.state import AgentName, AgentState, Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import incomplete
from spotd.clouds.transport import calling
from spotd.fleet.assemble import assemble
from spotd.fleet.interpretation import EXPLAINED_BY, Interpretation
from spotd.fleet.readings import Reading, Source
from spotd.fleet.renew import renewed
from spotd.fleet.snapshot import FleetSnapshot, Readings

ABANDONED_AFTER_SECONDS = 5.0
"""How long after its deadline a run counts as stuck: its socket is shut by then."""

LINGER_SECONDS = 1.0
"""How long finished agents wait for slower ones before the snapshot is joined without those."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent as the collection runs it."""

    name: AgentName
    collect: Callable[[Changes, Callable[[Outcome], None], bool], Outcome]
    """Given the handover of changed hosts, a publisher of early readings, and whether to force."""
    layers: Mapping[Source, CacheLayer]
    """Where each of its sources is kept."""
    distrust: Callable[[], None] = lambda: None
    """Told that another source contradicts its reading: the next run begins from nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionResult:
    """What one collection did."""

    seconds: float
    failures: Mapping[AgentName, str]
    """Sentences of the agents that failed."""
    unfinished: tuple[AgentName, ...]
    skipped: tuple[AgentName, ...] = ()
    """Agents that were not started: they still ran, or their cloud asked for a pause."""


class Collection:
    """Runs agents and keeps the latest snapshot; safe to use from several threads."""

    def __init__(
        self,
        agents: tuple[Agent, ...],
        *,
        interpretation: Interpretation,
        deadline_seconds: float,
        wait_seconds: float,
        clock: Clock,
        recorder: CollectionRecorder,
        snapshots: CacheLayer,
        forget_token: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._interpretation = interpretation
        self._deadline_seconds = deadline_seconds
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._recorder = recorder
        self._snapshots = snapshots
        self._health = Health(
            tuple(agent.name for agent in agents), clock=clock, recorder=recorder, forget_token=forget_token
        )
        self._executor = ThreadPoolExecutor(max_workers=2 * len(agents), thread_name_prefix="spotd agent")
        self._running: dict[AgentName, Future[float]] = {}
        self._lock = threading.Lock()
        self._publishing = threading.Lock()
        self._collecting = threading.Lock()
        self._began = 0
        self._gpus_missed_changes = False
        self._is_closed = False
        self._expired: frozenset[AgentName] = frozenset()
        self._belief = Belief()
        self._unjudged: dict[AgentName, tuple[float, Outcome]] = {}
        self._latest: FleetSnapshot | None = None
        self._last_result: CollectionResult | None = None
        self._unexplained: tuple[str, ...] = ()

    def latest(self) -> FleetSnapshot | None:
        """The last snapshot; None before the first. Never waits, never calls out."""
        return self._latest

    def requested(self) -> FleetSnapshot | None:
        """The last snapshot, counted as a request to the snapshot's cache layer."""
        snapshot = self._latest
        # A layer that holds nothing looks into its backend, which may be slow to answer.
        age = None if snapshot is None else self._snapshots.age_seconds()
        fresh = age is not None and age <= self._wait_seconds
        self._recorder.cache_requested(self._snapshots.name, hit=snapshot is not None and fresh)
        return snapshot

    def states(self) -> tuple[AgentState, ...]:
        """The health of each agent."""
        return self._health.states()

    def history(self) -> History:
        """The last runs of each agent."""
        return self._health.history

    def expire(self, agents: frozenset[AgentName]) -> None:
        """The next run of each asks its cloud, however fresh its reading is, which is shown until then."""
        with self._lock:
            self._expired |= agents

    def pool_state(self) -> tuple[int, int, int]:
        """Threads at most, agents running, agents waiting for a thread."""
        with self._lock:
            futures = tuple(self._running.values())
        running = sum(not future.done() for future in futures)
        return 2 * len(self._agents), running, self._executor._work_queue.qsize()  # noqa: SLF001 - no public way

    def abandoned(self) -> int:
        """Runs that are past their deadline and have not come back: threads that are stuck."""
        limit = self._clock.now() - timedelta(seconds=self._deadline_seconds + ABANDONED_AFTER_SECONDS)
        return sum(state.running_since is not None and state.running_since < limit for state in self.states())

    def layers(self) -> tuple[CacheLayer, ...]:
        """All layers of the cache."""
        return (
            *{layer.name: layer for agent in self._agents for layer in agent.layers.values()}.values(),
            self._snapshots,
        )

    def collect(
        self,
        *,
        force: frozenset[AgentName] = frozenset(),
        progress: Callable[[AgentName, str], None] | None = None,
    ) -> CollectionResult:
        """Runs every agent that is not still running, and joins the snapshot.

        Whoever asks while a collection runs that began after the asking shares that one.
        """
        asked = self._began
        with self._collecting:
            if self._last_result is not None and not force and self._began > asked:
                return self._last_result
            self._began += 1
            self._last_result = None  # were this one to fail, nobody may share an older one
            self._last_result = self._collect(force, progress or (lambda _agent, _what: None))
            return self._last_result

    def known(self) -> Readings:
        """The readings that are known now and not doubted; the snapshot may not have them yet."""
        doubted = frozenset(doubt.source for doubt in self._belief.doubts)
        return self._readings(but=doubted)

    def publish(self) -> FleetSnapshot:
        """Joins the snapshot from the readings that are known now and can be believed."""
        with self._publishing:
            now, readings, before = self._clock.now(), self._readings(), self._latest
            # What was believed and says the same is believed again.
            is_believed = before is not None and not self._belief.doubts
            snapshot = renewed(before, readings, now) if before is not None and is_believed else None
            if snapshot is None:
                believed = self._belief.of(readings, now, self._max_ages())
                snapshot = assemble(believed, self._interpretation, now, self._belief.contradictions())
            self._snapshots.put(Reading(value=None, read_at=now))
            self._latest = snapshot
            self._name_unexplained(snapshot.unexplained_classes)
            return snapshot

    def _name_unexplained(self, classes: tuple[str, ...]) -> None:
        """One line for each change: what is used of them is unknown until the settings explain them."""
        if classes != self._unexplained:
            self._unexplained = classes
            if classes:
                log.warning("resource classes may be gpus", classes=list(classes), explained_by=EXPLAINED_BY)

    def close(self) -> None:
        """Starts nothing more; what still runs is not waited for, and its failures are nobody's concern."""
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _readings(self, but: frozenset[Source] = frozenset()) -> Readings:
        known: dict[str, Any] = {
            source.value: reading
            for source, layer in self._layers()
            if source not in but and (reading := layer.last_good()) is not None
        }
        configured = {source for source, _ in self._layers()}
        return Readings(**known, unconfigured=frozenset(Source) - configured - {Source.CONFIGURATION})

    def _layers(self) -> Iterator[tuple[Source, CacheLayer]]:
        for agent in self._agents:
            yield from agent.layers.items()

    def _max_ages(self) -> Mapping[Source, float]:
        return {source: layer.max_age_seconds for source, layer in self._layers()}

    def _judge(self) -> None:
        """Fails the agents whose readings others contradict, and has what is too old to tell read anew."""
        owners = {source: agent for agent in self._agents for source in agent.layers}
        with self._lock:
            unjudged, self._unjudged = self._unjudged, {}
        for doubt in self._belief.doubts:
            agent = owners[doubt.source]
            if not doubt.is_sure:
                self.expire(frozenset({owners[doubt.against].name}))
            if doubt.source in self._belief.sure and not self._is_closed:
                agent.distrust()
                seconds, _ = unjudged.pop(agent.name, (None, None))
                self._health.contradicted(agent.name, seconds, incomplete(doubt.sentence))
        for name, (seconds, outcome) in unjudged.items():
            self._health.succeeded(name, seconds, outcome)

    def _collect(
        self, force: frozenset[AgentName], progress: Callable[[AgentName, str], None]
    ) -> CollectionResult:
        started = time.monotonic()
        changes, self._gpus_missed_changes = Changes(is_gapless=not self._gpus_missed_changes), False
        futures: dict[Future[float], AgentName] = {}
        for agent in self._agents:
            if (reason := self._not_now(agent.name)) is not None:
                self._recorder.agent_skipped(agent.name, reason)
                if agent.name is AgentName.SERVERS:
                    changes.give_up()
                self._gpus_missed_changes |= agent.name is AgentName.GPUS
                continue
            progress(agent.name, "started")
            with self._lock:
                forced = agent.name in force or agent.name in self._expired
                self._expired -= {agent.name}
            future = self._executor.submit(self._run, agent, changes, forced)
            with self._lock:
                self._running[agent.name] = future
            futures[future] = agent.name
        pending, spent = self._wait(set(futures), started, progress, futures)
        snapshot = self.publish()
        self._judge()
        seconds = time.monotonic() - started
        self._recorder.collection_finished(
            seconds, spent / seconds if seconds else 1.0, len(snapshot.hosts) / seconds
        )
        result = CollectionResult(
            seconds=seconds,
            failures={
                state.agent: state.last_failure_message or ""
                for state in self.states()
                if state.succeeded is False and state.agent in futures.values()
            },
            unfinished=tuple(futures[future] for future in pending),
            skipped=tuple(agent.name for agent in self._agents if agent.name not in futures.values()),
        )
        if not self._is_closed:
            self._report(snapshot, result)
        return result

    def _wait(
        self,
        pending: set[Future[float]],
        started: float,
        progress: Callable[[AgentName, str], None],
        names: Mapping[Future[float], AgentName],
    ) -> tuple[set[Future[float]], float]:
        """Waits for the agents, joining the snapshot early where slow ones keep finished ones waiting."""
        spent, unpublished, last = 0.0, False, started
        while pending and (left := started + self._wait_seconds - time.monotonic()) > 0:
            done, pending = wait(pending, timeout=min(left, LINGER_SECONDS), return_when=FIRST_COMPLETED)
            for future in done:
                spent += future.result()
                progress(names[future], "finished")
                unpublished, last = True, time.monotonic()
            lingered = time.monotonic() - last >= LINGER_SECONDS
            if pending and unpublished and (self._latest is None or not self._latest.stock_known or lingered):
                self.publish()
                unpublished = False
        return pending, spent

    def _not_now(self, name: AgentName) -> str | None:
        """Why the agent is not started; None where it is."""
        with self._lock:
            future = self._running.get(name)
        if future is not None and not future.done():
            return "running"
        return "asked_to_wait" if self._health.is_asked_to_wait(name) else None

    def _run(self, agent: Agent, changes: Changes, force: bool) -> float:  # noqa: FBT001 - a thread pool's
        """Runs one agent to its end, well or badly; returns the seconds it took."""
        self._health.began(agent.name)
        started = time.monotonic()
        try:
            with calling("agent", agent.name, self._deadline_seconds):
                outcome = agent.collect(changes, lambda early: self._keep(agent, early), force)
            seconds = time.monotonic() - started
            self._keep(agent, outcome)
            if self._belief.sure.isdisjoint(agent.layers):
                self._health.succeeded(agent.name, seconds, outcome)
            else:  # it was contradicted, and may be again
                with self._lock:
                    self._unjudged[agent.name] = seconds, outcome
        except Exception as error:  # noqa: BLE001 - the edge of a job: one agent's failure harms no other
            seconds = time.monotonic() - started
            if not self._is_closed:
                self._health.failed(agent.name, seconds, error)
        finally:
            if agent.name is AgentName.SERVERS:
                changes.give_up()
        return seconds

    def _keep(self, agent: Agent, outcome: Outcome) -> None:
        if outcome.from_cache:
            return
        for source, reading in outcome.readings.items():
            layer = agent.layers[source]
            if layer.last_good() is not reading:  # a caching agent's layer has stored it already
                layer.put(reading)
                self._recorder.cache_requested(layer.name, hit=False)

    def _report(self, snapshot: FleetSnapshot, result: CollectionResult) -> None:
        servers = snapshot.readings.servers
        log.info(
            "collected",
            seconds=round(result.seconds, 3),
            hosts=len(snapshot.hosts),
            servers=len(servers.value.servers) if servers else None,
            contradictions=len(snapshot.contradictions),
            failed=sorted(result.failures),
            unfinished=sorted(result.unfinished),
        )
