"""A collection with agents that fail, hang and lag: each harms only itself."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from typing import Any

import pytest
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.backends.null import NullBackend
from fleets import default_interpretation
from standing import Clock, Recorder, server

from spotd.agents.cache import CacheLayer
from spotd.agents.collection import Agent, Collection
from spotd.agents.state import AgentName, AgentState, Changes, Outcome
from spotd.clouds.errors import CloudError, Failure
from spotd.fleet.readings import Reading, Source
from spotd.fleet.snapshot import FleetSnapshot
from spotd.fleet.values import Aggregates, ComputeService, ComputeServices, Gpus, Servers

PATIENCE_SECONDS = 10.0
WAIT_SECONDS = 1.0
DEADLINE_SECONDS = 30.0
SOURCES = {
    AgentName.AGGREGATES: (Source.AGGREGATES,),
    AgentName.SERVERS: (Source.SERVICES, Source.SERVERS),
    AgentName.GPUS: (Source.GPUS,),
}


class FakeAgent:
    """Answers at once unless told to fail or to wait."""

    def __init__(self, name: AgentName, clock: Clock) -> None:
        self.name = name
        self.runs = 0
        self.forced: list[bool] = []
        self.failure: Exception | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.publishes_early = False
        self.heard: frozenset[str] | None = None
        self._clock = clock

    def collect(self, changes: Changes, publish: Callable[[Outcome], None], force: bool) -> Outcome:
        self.runs += 1
        self.forced.append(force)
        if self.publishes_early:
            publish(self.outcome(Source.SERVICES))
        assert self.goes_on.wait(PATIENCE_SECONDS)
        if self.failure is not None:
            raise self.failure
        if self.name is AgentName.SERVERS:
            changes.tell(frozenset({"h1"}))
        if self.name is AgentName.GPUS:
            self.heard = changes.wait(PATIENCE_SECONDS)
        return self.outcome(*SOURCES[self.name])

    def outcome(self, *sources: Source) -> Outcome:
        service = ComputeService(id="1", host="h1", status="enabled", state="up")
        values: dict[Source, Any] = {
            Source.AGGREGATES: Aggregates(aggregates=()),
            Source.SERVICES: ComputeServices(services=(service,)),
            Source.SERVERS: Servers(servers={"s1": server(1)}, changed_hosts=frozenset()),
            Source.GPUS: Gpus(trees={}, full_read_at=self._clock.now(), unread=()),
        }
        return Outcome(
            readings={source: Reading(value=values[source], read_at=self._clock.now()) for source in sources}
        )


class Watched:
    """A collection of fake agents."""

    def __init__(self) -> None:
        self.clock, self.recorder = Clock(), Recorder()
        self.agents = {name: FakeAgent(name, self.clock) for name in SOURCES}
        self.collection = Collection(
            tuple(
                Agent(
                    name=agent.name,
                    collect=agent.collect,
                    layers={source: self._layer(source) for source in SOURCES[agent.name]},
                )
                for agent in self.agents.values()
            ),
            interpretation=default_interpretation(),
            deadline_seconds=DEADLINE_SECONDS,
            wait_seconds=WAIT_SECONDS,
            clock=self.clock,
            recorder=self.recorder,
            snapshots=self._layer(Source.CONFIGURATION),
            forget_token=lambda: None,
        )

    def _layer(self, source: Source) -> CacheLayer:
        return CacheLayer(
            source.value,
            make_region().configure("dogpile.cache.memory"),
            key=source.value,
            lifetime_seconds=0.0,
            max_age_seconds=300.0,
            clock=self.clock,
            recorder=self.recorder,
        )

    def snapshot(self) -> FleetSnapshot:
        found = self.collection.latest()
        assert found is not None
        return found

    def state(self, name: AgentName) -> AgentState:
        return next(state for state in self.collection.states() if state.agent is name)

    def until_idle(self) -> None:
        """Every agent is at its end."""
        for future in self.collection._running.values():
            future.result(PATIENCE_SECONDS)

    def let_go(self) -> None:
        for agent in self.agents.values():
            agent.goes_on.set()


class CountingLock:
    """A lock that knows how many came for it."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.came.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.let_go()
    watched.collection.close()


def test_all_agents_run_and_one_snapshot_is_joined(watched: Watched) -> None:
    result = watched.collection.collect()

    assert (dict(result.failures), result.unfinished) == ({}, ())
    assert watched.snapshot().readings.servers is not None
    assert {("ran", name) for name in SOURCES} <= set(watched.recorder.told)
    assert ("finished",) in watched.recorder.told


def test_what_the_servers_agent_tells_reaches_the_gpus_agent(watched: Watched) -> None:
    watched.collection.collect()

    assert watched.agents[AgentName.GPUS].heard == {"h1"}


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        pytest.param(CloudError(Failure.SERVER_ERROR, "500"), "server_error", id="a named error"),
        pytest.param(ZeroDivisionError(), "unexpected", id="a fault of spotd's own"),
    ],
)
@pytest.mark.parametrize("name", SOURCES)
def test_a_failure_stays_with_its_agent(
    watched: Watched, name: AgentName, failure: Exception, reason: str
) -> None:
    """The others bring new readings; its last good ones stay, with their time, until it is well again."""
    watched.collection.collect()
    before = watched.clock.now()
    watched.clock.move(60)
    watched.agents[name].failure = failure

    result = watched.collection.collect()
    readings, failed = watched.snapshot().readings, watched.state(name)
    watched.agents[name].failure = None
    watched.collection.collect()

    assert set(result.failures) == {name}
    for agent, sources in SOURCES.items():
        for source in sources:
            reading = readings.of(source)
            assert reading is not None
            assert (reading.read_at == before) is (agent is name), source
    assert (failed.succeeded, failed.last_failure_reason) == (False, reason)
    assert ("failed", name, reason) in watched.recorder.told
    assert watched.state(name).succeeded is True


def test_without_word_of_the_servers_the_gpus_agent_is_told_that_there_is_none(watched: Watched) -> None:
    watched.agents[AgentName.SERVERS].failure = CloudError(Failure.TIMEOUT, "late")

    watched.collection.collect()

    assert watched.agents[AgentName.GPUS].heard is None
    assert watched.state(AgentName.GPUS).succeeded is True


def test_a_hung_agent_is_left_behind_and_passed_over_until_it_comes_back(watched: Watched) -> None:
    hung = watched.agents[AgentName.AGGREGATES]
    hung.goes_on.clear()

    first = watched.collection.collect()
    watched.collection.collect()
    readings = watched.snapshot().readings
    hung.goes_on.set()
    watched.until_idle()
    watched.collection.collect()

    assert first.unfinished == (AgentName.AGGREGATES,)
    assert ("skipped", AgentName.AGGREGATES, "running") in watched.recorder.told
    assert readings.servers is not None
    assert readings.aggregates is None
    assert hung.runs == 2
    assert watched.snapshot().readings.aggregates is not None


def test_a_gpus_agent_that_was_passed_over_is_not_told_of_the_next_changes_alone(watched: Watched) -> None:
    """It missed some: no word at all makes it read everything."""
    gpus = watched.agents[AgentName.GPUS]
    gpus.goes_on.clear()
    watched.collection.collect()
    watched.collection.collect()
    gpus.goes_on.set()
    watched.until_idle()

    watched.collection.collect()

    assert gpus.runs == 2
    assert gpus.heard is None


def test_a_run_long_past_its_deadline_counts_as_abandoned(watched: Watched) -> None:
    watched.agents[AgentName.AGGREGATES].goes_on.clear()
    watched.collection.collect()
    in_time = watched.collection.abandoned()
    watched.clock.move(DEADLINE_SECONDS + 6)

    assert in_time == 0
    assert watched.collection.abandoned() == 1
    assert watched.collection.pool_state() == (2 * len(SOURCES), 1, 0)


def test_early_readings_are_kept_although_the_agent_fails_later(watched: Watched) -> None:
    servers = watched.agents[AgentName.SERVERS]
    servers.publishes_early = True
    servers.failure = CloudError(Failure.INCOMPLETE, "a cell is down")

    watched.collection.collect()

    assert watched.snapshot().readings.services is not None
    assert watched.snapshot().readings.servers is None


def test_a_cloud_that_asked_for_a_pause_is_left_alone_for_it(watched: Watched) -> None:
    agent = watched.agents[AgentName.AGGREGATES]
    agent.failure = CloudError(Failure.RATE_LIMITED, "429", retry_after_seconds=30)
    watched.collection.collect()
    watched.collection.collect()
    paused = agent.runs
    watched.clock.time += timedelta(seconds=31)

    watched.collection.collect()

    assert paused == 1
    assert ("skipped", AgentName.AGGREGATES, "asked_to_wait") in watched.recorder.told
    assert agent.runs == 2


def test_only_the_named_agents_are_forced(watched: Watched) -> None:
    watched.collection.collect(force=frozenset({AgentName.GPUS}))

    assert [name for name, agent in watched.agents.items() if agent.forced == [True]] == [AgentName.GPUS]


def test_who_asks_while_a_collection_runs_shares_the_next(watched: Watched) -> None:
    """The one under way may have read before the asking; one after it is enough for all."""
    lock = watched.collection._collecting = CountingLock()  # type: ignore[assignment]
    agent = watched.agents[AgentName.AGGREGATES]
    agent.goes_on.clear()
    began = threading.Event()
    report = {"progress": lambda *_: began.set()}
    first = threading.Thread(target=watched.collection.collect, kwargs=report, daemon=True)
    others = [threading.Thread(target=watched.collection.collect, daemon=True) for _ in range(8)]
    first.start()
    assert began.wait(PATIENCE_SECONDS)
    for thread in others:
        thread.start()
    for _ in (first, *others):
        assert lock.came.acquire(timeout=PATIENCE_SECONDS)
    agent.goes_on.set()
    for thread in (first, *others):
        thread.join(PATIENCE_SECONDS)

    assert not any(thread.is_alive() for thread in (first, *others))
    assert watched.agents[AgentName.GPUS].runs == 2


def test_a_closed_collection_says_nothing_of_what_fails_then(watched: Watched) -> None:
    agent = watched.agents[AgentName.AGGREGATES]
    agent.failure = CloudError(Failure.CONNECTION, "closed")
    agent.goes_on.clear()
    watched.collection.collect()

    watched.collection.close()
    watched.let_go()
    watched.until_idle()

    assert not [told for told in watched.recorder.told if told[0] == "failed"]


def test_the_pools_state_is_told_while_an_agent_starts(watched: Watched) -> None:
    """A scrape looks at the first agent that runs while the collection puts the next beside it."""
    running = watched.collection._running

    class Looked(Future[float]):
        def done(self) -> bool:
            running[AgentName.GPUS] = Future()
            return False

    running[AgentName.SERVERS] = Looked()

    assert watched.collection.pool_state()[1] >= 1


def test_a_request_before_the_first_snapshot_waits_for_no_backend() -> None:
    """A scrape must be answered at once, also where the shared cache hangs."""

    asked: list[str] = []

    class Asked(NullBackend):
        def get(self, key: str) -> Any:
            asked.append(key)
            return NO_VALUE

    watched = Watched()
    watched.collection._snapshots._region.backend = Asked({})

    assert watched.collection.requested() is None
    assert asked == []
