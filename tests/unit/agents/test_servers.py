"""The servers agent counts a list only once it is proved whole."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from standing import START, Clock, server

from spotd.agents.servers import ServersAgent, _Walk, touched_servers
from spotd.agents.state import Changes, Outcome
from spotd.clouds.errors import CloudError, Failure, incomplete
from spotd.clouds.nova import ServerChanges, ServicesAnswer
from spotd.fleet.readings import Source
from spotd.fleet.values import ComputeService, Server, Servers

SERVICE = ComputeService(id="1", host="h1", status="enabled", state="up")
NOTHING = ServerChanges(changed=(), deleted=frozenset())


class FakeNova:
    """A Nova of a few servers, whose failures are ordered by setting them."""

    def __init__(self, clock: Clock, *servers: Server) -> None:
        self.clock = clock
        self.pages: list[tuple[Server, ...] | Exception] = [servers]
        self.changes = NOTHING
        self.asked_since: list[datetime] = []
        self.services: tuple[ComputeService, ...] = (SERVICE,)
        self.failure: Exception | None = None
        self.changes_failure: Exception | None = None
        self.existing: set[str] = set()
        self.walks = 0
        self.on_services: Callable[[], None] = lambda: None
        self._asked = threading.Condition()

    def next_question(self) -> Callable[[], None]:
        """Waits until changes are asked for once more than by now."""
        count = len(self.asked_since)

        def wait() -> None:
            with self._asked:
                assert self._asked.wait_for(lambda: len(self.asked_since) > count, timeout=5)

        return wait

    def compute_services(self) -> ServicesAnswer:
        self.on_services()
        if self.failure is not None:
            raise self.failure
        return ServicesAnswer(services=self.services, heartbeat=self.clock.now() if self.services else None)

    def server_pages(self) -> Iterator[tuple[Server, ...]]:
        self.walks += 1
        for page in self.pages:
            if isinstance(page, Exception):
                raise page
            yield page

    def server_changes(self, since: datetime) -> ServerChanges:
        with self._asked:
            self.asked_since.append(since)
            self._asked.notify_all()
        if self.changes_failure is not None:
            raise self.changes_failure
        return self.changes

    def server_exists(self, server_id: str) -> bool:
        return server_id in self.existing


class Watched:
    """An agent with what it told in its last collection."""

    def __init__(self, nova: Any, clock: Clock) -> None:
        self.agent = ServersAgent(nova, clock, full_resync_seconds=900, overlap_seconds=60)
        self.changes = Changes()
        self.published: list[Outcome] = []

    def collect(self, *, wait: bool = False) -> Outcome:
        self.changes, self.published = Changes(), []
        try:
            return self.agent.collect(self.changes, self.published.append, wait=wait)
        finally:
            self.changes.give_up()

    def walked(self) -> Outcome:
        """A collection after the walk under way has ended."""
        self.agent._walk.thread.join()
        return self.collect()

    @property
    def told(self) -> frozenset[str] | None:
        return self.changes.wait(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def nova(clock: Clock) -> FakeNova:
    return FakeNova(clock, server(1), server(2, "h2"), server(3, "h3"))


@pytest.fixture
def watched(nova: FakeNova, clock: Clock) -> Watched:
    return Watched(nova, clock)


@pytest.fixture
def settled(watched: Watched) -> Watched:
    watched.collect()
    watched.walked()
    return watched


def ids(outcome: Outcome) -> set[str]:
    value = outcome.readings[Source.SERVERS].value
    assert isinstance(value, Servers)
    return set(value.servers)


def fails(watched: Watched, reason: Failure) -> None:
    with pytest.raises(CloudError) as caught:
        watched.collect()
    assert reason == caught.value.reason


def test_services_are_told_while_the_servers_are_still_walked(watched: Watched) -> None:
    """The servers are left out, not told as none."""
    outcome = watched.collect()

    assert {Source.SERVICES} == set(outcome.readings)
    assert {Source.SERVICES} == set(watched.published[0].readings)


def test_a_walk_counts_after_the_services_list_that_follows_it(watched: Watched) -> None:
    """Then the servers are known."""
    watched.collect()

    assert {"s1", "s2", "s3"} == ids(watched.walked())


def test_one_off_use_waits_for_the_walk(watched: Watched) -> None:
    """One collection brings everything."""
    assert {"s1", "s2", "s3"} == ids(watched.collect(wait=True))


def test_one_off_use_hears_the_services_again_after_the_walk(watched: Watched, nova: FakeNova) -> None:
    """A cell that fell silent during it would be missing."""

    def falling_silent() -> Iterator[tuple[Server, ...]]:
        nova.failure = incomplete("a cell is down")
        yield (server(1),)

    nova.server_pages = falling_silent

    with pytest.raises(CloudError):
        watched.collect(wait=True)


def test_changes_and_deletions_are_applied(settled: Watched, nova: FakeNova) -> None:
    """And the hosts they touch told, with the host a server left."""
    moved = server(2, "h9")
    nova.changes = ServerChanges(changed=(moved, server(4, "h4")), deleted=frozenset({"s3", "never-seen"}))

    outcome = settled.collect()

    assert {"s1", "s2", "s4"} == ids(outcome)
    assert frozenset({"h2", "h9", "h4", "h3"}) == settled.told


def test_the_same_change_heard_again_touches_nothing(settled: Watched, nova: FakeNova) -> None:
    """Overlapping looks hear each change several times."""
    nova.changes = ServerChanges(changed=(server(4, "h4"),), deleted=frozenset())
    settled.collect()

    settled.collect()

    assert frozenset() == settled.told


def test_changed_hosts_are_told_by_the_name_that_placement_knows(settled: Watched, nova: FakeNova) -> None:
    """The reading names the host, the handover the hypervisor."""
    nova.changes = ServerChanges(
        changed=(server(4, "h4", hypervisor_hostname="h4.example"),), deleted=frozenset()
    )

    value = settled.collect().readings[Source.SERVERS].value

    assert isinstance(value, Servers)
    assert frozenset({"h4"}) == value.changed_hosts
    assert frozenset({"h4.example"}) == settled.told


def test_the_position_moves_only_after_the_next_services_list(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """Changes are asked from where it was before that list, less the overlap."""
    first = settled.agent.position
    clock.move(15)
    settled.collect()
    clock.move(15)
    settled.collect()

    assert first == START
    assert START + timedelta(seconds=15) == settled.agent.position
    assert START - timedelta(seconds=60) == nova.asked_since[-1]


def test_changes_are_asked_for_while_the_services_are_still_under_way(
    settled: Watched, nova: FakeNova
) -> None:
    """A steady refresh takes as long as the slower of the two, not as both."""
    nova.on_services = nova.next_question()
    nova.changes = ServerChanges(changed=(server(4),), deleted=frozenset())

    assert {"s1", "s2", "s3", "s4"} == ids(settled.collect())


def test_the_position_is_no_later_than_the_question_for_changes(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """The services' heartbeat may be younger than the changes by as long as the services took."""
    nova.on_services = lambda: clock.move(20)
    settled.collect()
    nova.on_services = lambda: None

    settled.collect()

    assert settled.agent.position == START


def test_after_a_services_list_that_failed_changes_wait_for_the_next(
    settled: Watched, nova: FakeNova
) -> None:
    """Else a cell that is back just then would be taken for heard in changes that lack it."""
    nova.failure = incomplete("a cell is down")
    nova.on_services = nova.next_question()
    fails(settled, Failure.INCOMPLETE)
    nova.failure = None
    asked_by_then: list[int] = []
    nova.on_services = lambda: asked_by_then.append(len(nova.asked_since))
    asked_before = len(nova.asked_since)

    settled.collect()

    assert asked_by_then == [asked_before]
    assert len(nova.asked_since) == asked_before + 1


def test_a_cell_that_is_down_takes_back_what_was_read_before_it_was_noticed(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """The changes are asked for again from the last proved position."""
    clock.move(15)
    settled.collect()
    proved = settled.agent.position
    nova.failure = incomplete("a cell is down")
    clock.move(600)
    fails(settled, Failure.INCOMPLETE)
    nova.failure = None
    clock.move(15)

    settled.collect()

    assert proved - timedelta(seconds=60) == nova.asked_since[-1]


def test_a_walk_during_which_a_cell_was_down_is_thrown_away(watched: Watched, nova: FakeNova) -> None:
    """A new one is started."""
    watched.collect()
    watched.agent._walk.thread.join()
    nova.failure = incomplete("a cell is down")
    fails(watched, Failure.INCOMPLETE)
    nova.failure = None

    outcome = watched.collect()

    assert Source.SERVERS not in outcome.readings
    assert nova.walks == 2
    assert {"s1", "s2", "s3"} == ids(watched.walked())


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_a_walk_that_breaks_is_told_and_loses_nothing(
    watched: Watched, nova: FakeNova, clock: Clock, *, is_first: bool
) -> None:
    """The second page fails; the old list stays where there is one, and the next walk brings all."""
    whole = nova.pages
    if not is_first:
        watched.collect()
        watched.walked()
        clock.move(1000)
    nova.pages = [(server(1),), CloudError(Failure.SERVER_ERROR, "500")]
    watched.collect()
    watched.agent._walk.thread.join()

    fails(watched, Failure.SERVER_ERROR)

    nova.pages = whole
    clock.move(61)
    watched.collect()
    assert {"s1", "s2", "s3"} == ids(watched.walked())


def test_after_a_walk_that_failed_the_next_waits_while_changes_are_followed(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """A walk costs Nova dear, and the list is followed anyway."""
    clock.move(1000)
    nova.pages = [CloudError(Failure.SERVER_ERROR, "500")]
    settled.collect()
    settled.agent._walk.thread.join()
    fails(settled, Failure.SERVER_ERROR)
    walks = nova.walks
    clock.move(15)

    outcome = settled.collect()

    assert walks == nova.walks
    assert {"s1", "s2", "s3"} == ids(outcome)


def test_a_walk_that_lost_servers_which_exist_is_refused_and_no_change_lost(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """The change heard in the refused refresh is heard again in the next."""
    clock.move(1000)
    nova.pages, nova.existing = [(server(1),)], {"s2", "s3"}
    settled.collect()
    settled.agent._walk.thread.join()
    nova.changes = ServerChanges(changed=(server(4, "h4"),), deleted=frozenset())

    fails(settled, Failure.INCOMPLETE)

    assert {"s1", "s2", "s3", "s4"} == ids(settled.collect())
    assert frozenset({"h4"}) == settled.told


def test_a_walk_without_servers_that_are_really_gone_is_accepted(
    settled: Watched, nova: FakeNova, clock: Clock
) -> None:
    """No list of changes told it, such as after an archive."""
    clock.move(1000)
    nova.pages = [(server(1),)]
    settled.collect()

    assert {"s1"} == ids(settled.walked())
    assert frozenset({"h2", "h3"}) == settled.told


def test_of_many_lost_servers_some_of_every_stretch_are_asked_for(clock: Clock) -> None:
    """The first hundred are gone, those behind them belong to a cell that failed."""
    many = tuple(server(number) for number in range(200))
    nova = FakeNova(clock, *many)
    watched = Watched(nova, clock)
    watched.collect()
    watched.walked()
    clock.move(1000)
    nova.pages, nova.existing = [(server(0),)], {f"s{number}" for number in range(101, 200)}
    watched.collect()
    watched.agent._walk.thread.join()

    fails(watched, Failure.INCOMPLETE)


def test_changes_that_fail_keep_the_list_and_the_services(settled: Watched, nova: FakeNova) -> None:
    """The services were published before."""
    nova.changes_failure = CloudError(Failure.TIMEOUT, "too slow")
    fails(settled, Failure.TIMEOUT)
    nova.changes_failure = None

    assert {Source.SERVICES} == set(settled.published[0].readings)
    assert {"s1", "s2", "s3"} == ids(settled.collect())


def test_a_finished_walk_waits_for_changes_that_fail(watched: Watched, nova: FakeNova) -> None:
    """It is not walked again for one answer that did not come."""
    watched.collect()
    watched.agent._walk.thread.join()
    nova.changes_failure = CloudError(Failure.TIMEOUT, "too slow")
    fails(watched, Failure.TIMEOUT)
    nova.changes_failure = None

    outcome = watched.collect()

    assert {"s1", "s2", "s3"} == ids(outcome)
    assert nova.walks == 1


def test_no_service_at_all_is_not_believed_where_servers_were(settled: Watched, nova: FakeNova) -> None:
    """An empty answer would take every host out of stock."""
    nova.services = ()

    fails(settled, Failure.INCOMPLETE)

    assert settled.published == []


def test_an_empty_cloud_is_a_known_nothing(clock: Clock) -> None:
    """No service and no server from the start."""
    nova = FakeNova(clock)
    nova.services = ()
    watched = Watched(nova, clock)
    watched.collect()

    assert set() == ids(watched.walked())


def test_a_walk_whose_thread_died_is_started_anew(watched: Watched, nova: FakeNova) -> None:
    """Were it waited for, the servers would stay unknown for ever."""

    ended = threading.Thread()
    ended.start()
    ended.join()
    watched.agent._walk = _Walk(began=START, thread=ended)

    watched.collect()

    assert {"s1", "s2", "s3"} == ids(watched.walked())


def test_a_resumed_list_is_followed_from_its_position_without_a_walk(
    watched: Watched, nova: FakeNova, clock: Clock
) -> None:
    """Deletions since then are applied."""
    watched.agent.resume({"s1": server(1), "s8": server(8)}, START - timedelta(hours=1))
    nova.changes = ServerChanges(changed=(), deleted=frozenset({"s8"}))

    outcome = watched.collect()

    assert {"s1"} == ids(outcome)
    assert START - timedelta(hours=1, seconds=60) == nova.asked_since[-1]
    assert nova.walks == 0
    clock.move(901)
    watched.collect()
    assert nova.walks == 1


def test_closing_stops_a_walk_at_its_next_page(watched: Watched, nova: FakeNova) -> None:
    """Its result is not taken in."""

    def closing() -> Iterator[tuple[Server, ...]]:
        watched.agent.close()
        yield (server(1),)
        raise AssertionError("asked for another page")

    nova.server_pages = closing
    watched.agent._start_walk_if_due(START)

    watched.agent._walk.thread.join()

    assert watched.agent._walk.servers is None
    assert watched.agent._walk.error is None


def test_touched_servers_are_those_that_came_went_or_changed() -> None:
    """As they were and as they are."""
    stays, before, after = server(1), server(2, "h2"), server(2, "h5")
    went, came = server(3), server(4)

    touched = touched_servers({"s1": stays, "s2": before, "s3": went}, {"s1": stays, "s2": after, "s4": came})

    assert [before, after, came, went] == list(touched)
