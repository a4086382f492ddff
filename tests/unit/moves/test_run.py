"""A move from its first look to its end: what it does, what stops it, and what it then takes back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from moving import (
    FAULTS,
    HOST,
    LOST,
    ONDEMAND,
    REFUSALS,
    RUNPOD,
    SPOT,
    TTL,
    FakeCloud,
    Spotd,
    order,
    place,
    store_on,
)
from standing import Clock

from spotd.fleet.live import Migration
from spotd.moves.guarding import Grounds
from spotd.planning.load import parse_rules
from spotd.planning.refusals import Code
from spotd.planning.rules import OpenTime
from spotd.planning.surroundings import Standing
from spotd.store import Store
from spotd.store.errors import HostClaimed, LeaseLost, StoreError
from spotd.store.records import MoveState

ONE_ZONE = ("az-1", "az-1", "az-1")
OPERATIONS = ("disable_service", "remove_host", "add_host", "enable_service")


def writes(cloud: FakeCloud) -> list[tuple[str, str]]:
    return [(operation, what.partition(":")[0]) for operation, _, what in cloud.log]


def is_as_it_was(cloud: FakeCloud) -> bool:
    host = cloud.hosts[HOST]
    return cloud.pools_of(HOST) == [ONDEMAND] and host.status == "enabled" and cloud.mirror_agrees(HOST)


def test_moves_an_empty_host(cloud: FakeCloud, spotd: Spotd) -> None:
    """Closed, out, in, opened, in this order and nothing else."""
    record = spotd.run(order())

    assert MoveState.DONE == record.state
    assert [
        ("disable_service", "spotd"),
        ("remove_host", ONDEMAND),
        ("add_host", SPOT),
        ("enable_service", ""),
    ] == writes(cloud)
    assert [SPOT] == cloud.pools_of(HOST)
    assert "enabled" == cloud.hosts[HOST].status
    assert [order()] == spotd.moved


def test_joins_before_it_leaves_within_one_zone(clock: Clock, store: Store) -> None:
    """Else the host would fall out of its zone for a moment."""
    cloud = FakeCloud(clock, zones=ONE_ZONE)

    record = Spotd(cloud, store).run(order())

    assert MoveState.DONE == record.state
    assert [("add_host", SPOT), ("remove_host", ONDEMAND)] == writes(cloud)[1:3]


def test_leaves_before_it_joins_between_two_zones(clock: Clock, store: Store) -> None:
    """Nova allows a host one zone at a time."""
    cloud = FakeCloud(clock, zones=("az-1", "az-2", "az-3"))

    record = Spotd(cloud, store).run(order())

    assert MoveState.DONE == record.state
    assert [("remove_host", ONDEMAND), ("add_host", SPOT)] == writes(cloud)[1:3]


def test_writes_each_step_down_before_and_after(spotd: Spotd) -> None:
    """What the journal has at the end."""
    record = spotd.run(order())

    found = spotd.journal.move(record.id)
    assert found is not None
    assert found.fenced
    steps = ["claim", "fence", "settle", "prove", "prove", "leave", "join", "verify", "release"]
    assert [(step, "do", "done") for step in steps] == [(s.step, s.phase, s.outcome) for s in found.steps]
    assert all(step.ended_at is not None for step in found.steps)
    assert [(step, "do", "done") for step in steps] == spotd.observed.steps


def test_refuses_a_host_with_servers_before_anything_is_written(cloud: FakeCloud, spotd: Spotd) -> None:
    """The guards of planning are asked again on the live view."""
    cloud.land(HOST)

    record = spotd.run(order())

    assert (MoveState.REFUSED, Code.SERVERS_PRESENT) == (record.state, record.code)
    assert [] == cloud.log


def test_refuses_a_host_with_an_allocation_that_nova_does_not_show(cloud: FakeCloud, spotd: Spotd) -> None:
    """Placement is told first."""
    cloud.land(HOST, show=10.0)

    record = spotd.run(order())

    assert (MoveState.REFUSED, Code.GPUS_ALLOCATED) == (record.state, record.code)
    assert [] == cloud.log


def test_refuses_a_host_that_a_migration_goes_to(cloud: FakeCloud, spotd: Spotd) -> None:
    """Also one that waits to be confirmed."""
    cloud.migrations.append(
        Migration(
            id=1, uuid="m", status="finished", source_host="x", dest_host=HOST, server_id="s", type="resize"
        )
    )

    record = spotd.run(order())

    assert (MoveState.REFUSED, Code.MIGRATION_IN_FLIGHT) == (record.state, record.code)


def test_refuses_a_host_that_somebody_disabled(cloud: FakeCloud, spotd: Spotd) -> None:
    """And leaves the reason alone."""
    cloud.operator_disables(HOST, "broken fan")

    record = spotd.run(order())

    assert MoveState.REFUSED == record.state
    assert [] == cloud.log
    assert "broken fan" == cloud.hosts[HOST].reason


def test_refuses_where_another_aggregate_has_the_id(cloud: FakeCloud, spotd: Spotd) -> None:
    """An aggregate is its uuid."""
    another = replace(order(), destination=replace(place(SPOT), uuid="made anew"))

    record = spotd.run(another)

    assert (MoveState.REFUSED, Code.NO_DESTINATION) == (record.state, record.code)
    assert [] == cloud.log


def test_refuses_while_there_is_no_snapshot(cloud: FakeCloud, spotd: Spotd) -> None:
    """Nothing is decided on nothing."""
    spotd.has_snapshot = False

    record = spotd.run(order())

    assert (MoveState.REFUSED, Code.READING_MISSING) == (record.state, record.code)


@pytest.mark.parametrize("operation", ["aggregates", "compute_service", "servers_on", "consumers"])
def test_refuses_what_it_cannot_see(operation: str, cloud: FakeCloud, spotd: Spotd) -> None:
    """Unknown is not empty."""
    cloud.faults[operation] = ["500"]

    record = spotd.run(order())

    assert MoveState.REFUSED == record.state
    assert [] == cloud.log


@pytest.mark.parametrize("operation", OPERATIONS[:3])
@pytest.mark.parametrize("zones", [(), ONE_ZONE], ids=["leave-first", "join-first"])
@pytest.mark.parametrize("fault", [f for f in FAULTS if "after" not in f and "late" not in f])
def test_takes_back_what_was_done_when_a_write_fails(
    fault: str, zones: tuple[str | None, ...], operation: str, clock: Clock, store: Store
) -> None:
    """The host is as it was; at once, or after the quiet that a write without an answer needs."""
    cloud = FakeCloud(clock, zones=zones)
    spotd = Spotd(cloud, store)
    cloud.faults[operation] = [fault]

    record = spotd.run(order())

    if record.state is MoveState.RUNNING:
        assert fault.partition(" ")[0] in ("timeout", "reset", "503")
        cloud.pass_time(spotd.timing.quiet_seconds + 1)
        [record] = spotd.settle()
    assert MoveState.UNDONE == record.state
    assert is_as_it_was(cloud)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("zones", [(), ONE_ZONE], ids=["leave-first", "join-first"])
@pytest.mark.parametrize("kind", LOST)
def test_goes_on_when_a_write_took_effect_though_its_answer_was_lost(
    kind: str, zones: tuple[str | None, ...], operation: str, clock: Clock, store: Store
) -> None:
    """A 500, a timeout and a reset are read back."""
    cloud = FakeCloud(clock, zones=zones)
    cloud.faults[operation] = [f"{kind} after"]

    record = Spotd(cloud, store).run(order())

    assert MoveState.DONE == record.state
    assert [SPOT] == cloud.pools_of(HOST)
    assert "enabled" == cloud.hosts[HOST].status


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("zones", [(), ONE_ZONE], ids=["leave-first", "join-first"])
@pytest.mark.parametrize("kind", ["timeout", "reset"])
def test_keeps_the_host_closed_until_a_late_write_can_do_no_harm(
    kind: str, zones: tuple[str | None, ...], operation: str, clock: Clock, store: Store
) -> None:
    """Else a host would be opened in one pool and land in a second one, or be closed by nobody's move."""
    cloud = FakeCloud(clock, zones=zones)
    spotd = Spotd(cloud, store)
    cloud.faults[operation] = [f"{kind} late"]

    record = spotd.run(order())
    cloud.pass_time(spotd.timing.quiet_seconds + 1)
    ended = spotd.settle()

    assert MoveState.RUNNING == record.state
    assert [MoveState.DONE if operation == "enable_service" else MoveState.UNDONE] == [e.state for e in ended]
    assert 1 == len(cloud.pools_of(HOST))
    assert "enabled" == cloud.hosts[HOST].status


@pytest.mark.parametrize("fault", [f for f in FAULTS if "after" not in f and "late" not in f])
def test_stays_in_its_destination_when_it_cannot_be_opened(
    fault: str, cloud: FakeCloud, spotd: Spotd
) -> None:
    """It is where it should be, so that nothing is taken back."""
    cloud.faults["enable_service"] = [fault]

    record = spotd.run(order())

    assert [SPOT] == cloud.pools_of(HOST)
    assert record.state in (MoveState.RUNNING, MoveState.STRANDED)
    assert (record.state is MoveState.STRANDED) == (fault in ("409", "404", "403"))
    assert "disabled" == cloud.hosts[HOST].status


@pytest.mark.parametrize("fault", REFUSALS)
def test_strands_a_host_whose_way_back_is_refused(fault: str, cloud: FakeCloud, spotd: Spotd) -> None:
    """A no to the request itself is final; a 401 and a 429 are about the moment."""
    cloud.faults["add_host"] = ["409", fault]

    record = spotd.run(order())

    expected = MoveState.RUNNING if fault in ("401", "429") else MoveState.STRANDED
    assert expected == record.state
    assert [] == cloud.pools_of(HOST)
    assert "disabled" == cloud.hosts[HOST].status


def test_says_no_more_than_open_when_the_cloud_goes_away(cloud: FakeCloud, spotd: Spotd) -> None:
    """Nothing can be read, so nothing is claimed; when it is back the move is settled."""

    def go_away(operation: str, _host: str) -> None:
        if operation == "add_host":
            cloud.outage = "timeout before"

    cloud.before = go_away
    record = spotd.run(order())
    cloud.outage, cloud.before = None, lambda _operation, _host: None
    cloud.pass_time(spotd.timing.quiet_seconds + 1)
    ended = spotd.settle()

    assert MoveState.RUNNING == record.state
    assert [MoveState.UNDONE] == [one.state for one in ended]
    assert is_as_it_was(cloud)


def test_strands_a_host_when_patience_is_over(cloud: FakeCloud, spotd: Spotd) -> None:
    """An outage without end is somebody's business."""
    record = spotd.begin(order())
    cloud.before = lambda operation, _host: (
        setattr(cloud, "outage", "500") if operation == "add_host" else None
    )
    spotd.executor.run(record, token=spotd.token)
    cloud.pass_time(spotd.timing.patience_seconds + 1)

    ended = spotd.settle()

    assert [MoveState.STRANDED] == [one.state for one in ended]
    assert "disabled" == cloud.hosts[HOST].status


def test_gives_up_when_placement_does_not_show_the_fence(cloud: FakeCloud, spotd: Spotd) -> None:
    """Until then the scheduler may still choose the host."""
    cloud.trait_lag = 3600.0

    record = spotd.run(order())

    assert MoveState.UNDONE == record.state
    assert "does not show" in record.sentence
    assert is_as_it_was(cloud)


def test_counts_the_settle_time_from_the_trait(cloud: FakeCloud, spotd: Spotd) -> None:
    """Not from the answer of the disable."""
    cloud.trait_lag = 20.0
    began = spotd.clock.seconds

    spotd.run(order())

    assert spotd.clock.seconds - began >= 20.0 + spotd.timing.settle_seconds + spotd.timing.proof_gap_seconds


@pytest.mark.parametrize("claim", [0.5, 5.0, 29.0, 34.0])
@pytest.mark.parametrize("show", [0.0, 9.4])
def test_finds_who_was_on_the_way_when_the_host_was_closed(
    claim: float, show: float, cloud: FakeCloud, spotd: Spotd
) -> None:
    """Before the first proof or between the two."""

    def boot_just_before(operation: str, _host: str) -> None:
        if operation == "disable_service":
            cloud.boot(HOST, claim=claim, show=show)

    cloud.before = boot_just_before

    record = spotd.run(order())

    assert MoveState.UNDONE == record.state
    assert "not empty" in record.sentence
    assert is_as_it_was(cloud)
    assert {"disable_service", "enable_service"} == {operation for operation, _, _ in cloud.log}


@pytest.mark.parametrize("zones", [(), ONE_ZONE], ids=["leave-first", "join-first"])
def test_takes_the_host_back_when_somebody_landed_in_spite_of_all(
    zones: tuple[str | None, ...], clock: Clock, store: Store
) -> None:
    """Who was sent to the origin finds the host there; Nova refuses to take a server out of its zone."""
    cloud = FakeCloud(clock, zones=zones)
    cloud.before = lambda operation, _host: (
        cloud.land(HOST) if operation == "mirror" and not cloud.boots else None
    )

    record = Spotd(cloud, store).run(order())

    assert MoveState.UNDONE == record.state
    assert "landed" in record.sentence
    assert is_as_it_was(cloud)


@pytest.mark.parametrize("to", [SPOT, RUNPOD])
@pytest.mark.parametrize("nth", range(30))
def test_gives_way_to_an_operator_who_moves_the_host_meanwhile(
    nth: int, to: str, cloud: FakeCloud, spotd: Spotd
) -> None:
    """Before any look: the host is in one pool and open, and `done` is said only of what was looked at."""
    looks = iter(range(1000))
    looked_after: list[str] = []

    def operate(operation: str, _host: str) -> None:
        if operation in OPERATIONS:
            return
        look = next(looks)
        if look == nth:
            cloud.operator_moves(HOST, to)
        if look >= nth:
            looked_after.append(operation)

    cloud.before = operate

    record = spotd.run(order())

    assert 1 == len(cloud.pools_of(HOST))
    assert "enabled" == cloud.hosts[HOST].status
    assert cloud.mirror_agrees(HOST)
    if record.state is MoveState.DONE and "aggregates" in looked_after:
        assert [SPOT] == cloud.pools_of(HOST)


@pytest.mark.parametrize("nth", range(30))
def test_never_opens_a_host_that_an_operator_closed_meanwhile(
    nth: int, cloud: FakeCloud, spotd: Spotd
) -> None:
    """Before any look; the other's reason stays."""
    looks = iter(range(1000))

    def operate(operation: str, _host: str) -> None:
        if operation not in OPERATIONS and next(looks) == nth:
            cloud.operator_disables(HOST, "mine")

    cloud.before = operate

    spotd.run(order())

    assert 1 == len(cloud.pools_of(HOST))
    if next(looks) > nth:
        assert ("disabled", "mine") == (cloud.hosts[HOST].status, cloud.hosts[HOST].reason)


def test_leaves_a_host_alone_that_an_operator_opened_in_its_destination(
    cloud: FakeCloud, spotd: Spotd
) -> None:
    """Who lands then was sent to the destination, and stays there."""

    def operate(operation: str, _host: str) -> None:
        if operation == "mirror":
            cloud.operator_enables(HOST)
            cloud.boot(HOST)

    cloud.before = operate

    record = spotd.run(order())

    assert MoveState.DONE == record.state
    assert [SPOT] == cloud.pools_of(HOST)


def test_repairs_a_mirror_that_nova_failed_to_write(cloud: FakeCloud, spotd: Spotd) -> None:
    """Out and in again, through Nova."""

    def lose(operation: str, _host: str) -> None:
        joins = [one for one in cloud.log if one[0] == "add_host"]
        cloud.mirror_state = "silent" if operation == "add_host" and not joins else "ok"

    cloud.before = lose

    record = spotd.run(order())

    assert MoveState.DONE == record.state
    assert cloud.mirror_agrees(HOST)
    assert [("remove_host", SPOT), ("add_host", SPOT)] == writes(cloud)[3:5]


def test_clears_the_origin_from_a_mirror_that_kept_it(cloud: FakeCloud, spotd: Spotd) -> None:
    """Nova clears it where its own list does not have the host any more, and says 404."""

    def lose(operation: str, _host: str) -> None:
        cloud.mirror_state = "silent" if operation == "remove_host" and len(cloud.log) == 1 else "ok"

    cloud.before = lose

    record = spotd.run(order())

    assert MoveState.DONE == record.state
    assert cloud.mirror_agrees(HOST)


def test_leaves_a_wrong_mirror_alone_that_is_not_its_doing(cloud: FakeCloud, spotd: Spotd) -> None:
    """The host is open and was not touched: out and in again would show it to everybody for a moment."""
    cloud.hosts[HOST].mirror.clear()
    cloud.faults["disable_service"] = ["403"]

    record = spotd.run(order())

    assert MoveState.UNDONE == record.state
    assert ["disable_service"] == [operation for operation, _, _ in cloud.log]


@pytest.mark.parametrize("how", ["opened", "moved"])
def test_repairs_no_mirror_of_a_host_that_somebody_took_in_hand(
    how: str, cloud: FakeCloud, spotd: Spotd
) -> None:
    """Else it would be in no pool for a moment, or in two."""
    mirrors: list[str] = []

    def lose(operation: str, _host: str) -> None:
        joins = [one for one in cloud.log if one[0] == "add_host"]
        cloud.mirror_state = "silent" if operation == "add_host" and not joins else "ok"
        mirrors.extend([operation] if operation == "mirror" else [])
        if operation == "mirror" and len(mirrors) == 2:
            if how == "opened":
                cloud.operator_enables(HOST)
            elif how == "moved":
                cloud.operator_moves(HOST, RUNPOD)

    cloud.before = lose

    record = spotd.run(order())

    assert MoveState.DONE != record.state
    assert 1 == len(cloud.pools_of(HOST))


def test_does_not_open_a_host_whose_mirror_stays_wrong(cloud: FakeCloud, spotd: Spotd) -> None:
    """It would be found by flavors of another pool, or by none."""
    cloud.before = lambda operation, _host: setattr(
        cloud, "mirror_state", "silent" if operation == "add_host" else "ok"
    )

    record = spotd.run(order())

    assert MoveState.RUNNING == record.state
    assert "disabled" == cloud.hosts[HOST].status


def test_waits_for_servers_to_leave(cloud: FakeCloud, spotd: Spotd) -> None:
    """Nobody is thrown out."""
    drained = replace(order(drain=3600.0), rule=None)
    record = spotd.begin(drained)
    boots: list[bool] = []

    def leave(operation: str, _host: str) -> None:
        if operation == "disable_service":
            cloud.land(HOST)
        if operation == "servers_on" and cloud.boots and not boots:
            boots.append(True)
            cloud._late.append((cloud.clock.seconds + 100.0, lambda: cloud.empty(HOST)))

    cloud.before = leave

    ended = spotd.executor.run(record, token=spotd.token)

    assert MoveState.DONE == ended.state
    assert ("drain", "do", "done") in spotd.observed.steps


def test_gives_up_cleanly_when_servers_stay(cloud: FakeCloud, spotd: Spotd) -> None:
    """At the deadline the host is opened again where it is."""
    cloud.before = lambda operation, _host: cloud.land(HOST) if operation == "disable_service" else None

    record = spotd.run(order(drain=120.0))

    assert MoveState.UNDONE == record.state
    assert "when its time was over" in record.sentence
    assert is_as_it_was(cloud)


@pytest.mark.parametrize("waits", range(3))
def test_takes_back_what_was_done_when_the_process_leaves(waits: int, cloud: FakeCloud, spotd: Spotd) -> None:
    """In whichever wait it is told."""
    cloud.trait_lag = 0.5
    spotd.leaving.after_waits = waits

    record = spotd.run(order())

    assert MoveState.UNDONE == record.state
    assert is_as_it_was(cloud)


def test_a_process_that_leaves_does_not_wait_for_what_it_can_no_longer_read(
    cloud: FakeCloud, spotd: Spotd
) -> None:
    """Its connections are closed: the next start looks what became of the write."""
    left_at: list[float] = []

    def leave(operation: str, _host: str) -> None:
        if operation == "add_host":
            cloud.outage, spotd.leaving.after_waits = "reset before", 0
            left_at.append(cloud.clock.monotonic())

    cloud.after = leave

    record = spotd.run(order())

    assert (MoveState.RUNNING, "disabled") == (record.state, cloud.hosts[HOST].status)
    assert [cloud.clock.monotonic()] == left_at


def test_does_not_touch_a_host_twice(spotd: Spotd) -> None:
    """An open move holds its host."""
    spotd.begin(order())

    with pytest.raises(HostClaimed):
        spotd.begin(order())


class BrokenJournal:
    """Fails at the n-th write, before it or after it is on the disk; another daemon may have taken over."""

    def __init__(self, spotd: Spotd, nth: int, *, error: type[Exception] | None, late: bool = False) -> None:
        self._spotd = spotd
        self._left = nth
        self._error = error
        self._late = late
        self.is_broken = False
        self.written = len(spotd.cloud.log)

    def __getattr__(self, name: str) -> object:
        called = getattr(self._spotd.journal, name)
        if name not in ("step_began", "step_ended", "fenced", "finish"):
            return called

        def write(*args: object, **named: object) -> object:
            self._left -= 1
            if self._left != -1:
                return called(*args, **named)
            self.is_broken = True
            self.written = len(self._spotd.cloud.log)
            if self._error is None:
                self._spotd.clock.move(TTL.total_seconds() + 1)
                return called(*args, **named)
            if self._late:
                called(*args, **named)
            raise self._error("the disk is full")

        return write


@pytest.mark.parametrize("nth", range(20))
@pytest.mark.parametrize("how", ["before", "after", "lapsed"])
def test_writes_nothing_more_to_the_cloud_when_the_journal_is_lost(
    how: str, nth: int, cloud: FakeCloud, spotd: Spotd
) -> None:
    """At any write; the move is left open, and settled when the journal is back."""
    record = spotd.begin(order())
    journal = BrokenJournal(spotd, nth, error=None if how == "lapsed" else StoreError, late=how == "after")

    with pytest.raises(LeaseLost if how == "lapsed" else StoreError):
        spotd.made(journal).run(record, token=spotd.token)

    assert journal.is_broken
    assert journal.written == len(cloud.log)
    cloud.pass_time(timedelta(minutes=10).total_seconds())
    found = spotd.journal.move(record.id)
    ended = [found] if found is not None and not found.is_open else spotd.settle()
    assert [True] == [one is not None and one.state in (MoveState.DONE, MoveState.UNDONE) for one in ended]
    assert 1 == len(cloud.pools_of(HOST))
    assert "enabled" == cloud.hosts[HOST].status


class Asleep:
    """The process is stopped right after a step was written down, for longer than its lease lasts."""

    def __init__(self, spotd: Spotd, nth: int) -> None:
        self._spotd = spotd
        self._left = nth
        self.written: int | None = None

    def __getattr__(self, name: str) -> object:
        called = getattr(self._spotd.journal, name)
        if name != "step_began":
            return called

        def write(*args: object, **named: object) -> object:
            answer = called(*args, **named)
            self._left -= 1
            if self._left == -1:
                self.written = len(self._spotd.cloud.log)
                self._spotd.clock.move(TTL.total_seconds() + 1)
            return answer

        return write


@pytest.mark.parametrize("nth", range(8))
def test_sends_nothing_once_its_lease_has_lapsed(nth: int, cloud: FakeCloud, spotd: Spotd) -> None:
    """Another daemon may have settled the move while this one slept between its journal and the cloud."""
    record = spotd.begin(order())
    journal = Asleep(spotd, nth)

    with pytest.raises(LeaseLost):
        spotd.made(journal).run(record, token=spotd.token)

    assert journal.written == len(cloud.log)


def test_moves_into_no_aggregate_that_was_made_anew_meanwhile(cloud: FakeCloud, spotd: Spotd) -> None:
    """Looked at right before the host leaves its origin."""

    def remake(operation: str, _host: str) -> None:
        if operation == "traits":
            cloud.remade[2] = "another"

    cloud.before = remake

    record = spotd.run(order())

    assert MoveState.UNDONE == record.state
    assert "gone" in record.sentence
    assert is_as_it_was(cloud)
    assert {"disable_service", "enable_service"} == {operation for operation, _, _ in cloud.log}


def freeze(spotd: Spotd) -> None:
    spotd.standing = Standing(frozen="network work (ada)")


def observe(spotd: Spotd) -> None:
    spotd.rules = replace(spotd.rules, mode="observe")


def close_the_window(spotd: Spotd) -> None:
    shut = OpenTime(cron="0 3 * * *", length=timedelta(minutes=1), time_zone="UTC")
    [rule] = spotd.rules.rules
    spotd.rules = replace(spotd.rules, rules=(replace(rule, windows=(shut,)),))


def drop_the_rule(spotd: Spotd) -> None:
    spotd.rules = replace(spotd.rules, rules=())


def lose_the_snapshot(spotd: Spotd) -> None:
    spotd.has_snapshot = False


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (freeze, Code.FROZEN),
        (observe, Code.OBSERVING),
        (close_the_window, Code.WINDOW_CLOSED),
        (drop_the_rule, Code.OUT_OF_SCOPE),
        (lose_the_snapshot, Code.READING_MISSING),
    ],
)
def test_asks_every_guard_again_when_the_servers_have_left(
    change: Callable[[Spotd], None], code: Code, cloud: FakeCloud, spotd: Spotd
) -> None:
    """A drain lasts hours, in which the world changes."""
    spotd.rules = parse_rules(
        'mode: active\nrules: [{name: lend, from: [ondemand], to: spot, when: "true", hosts: {take: drain}}]'
    )

    def change_and_leave(operation: str, _host: str) -> None:
        if operation == "disable_service":
            cloud.land(HOST)
        elif operation == "servers_on" and cloud.claimed(HOST):
            change(spotd)
            cloud.empty(HOST)

    cloud.before = change_and_leave

    record = spotd.run(replace(order(drain=3600.0), rule="lend", asked_by="rule lend"))

    assert (MoveState.UNDONE, code) == (record.state, record.code)
    assert is_as_it_was(cloud)
    assert {"disable_service", "enable_service"} == {operation for operation, _, _ in cloud.log}


class BehindTheTimes(Spotd):
    """Its snapshot was read before the runpod aggregate was made."""

    def grounds(self) -> Grounds | None:
        grounds = super().grounds()
        assert grounds is not None
        old = tuple(found for found in grounds.snapshot.aggregates if found.aggregate.name != RUNPOD)
        return replace(grounds, snapshot=replace(grounds.snapshot, aggregates=old))


def test_a_pool_that_the_snapshot_does_not_know_is_a_pool_all_the_same(cloud: FakeCloud) -> None:
    """Somebody moves the host there meanwhile: it must not be joined to its origin as well."""
    spotd = BehindTheTimes(cloud, store_on(cloud.clock))

    def move_away(operation: str, host: str) -> None:
        if operation == "traits" and cloud.pools_of(HOST) == [ONDEMAND]:
            cloud.operator_moves(HOST, RUNPOD)

    cloud.before = move_away

    record = spotd.run(order())

    assert (MoveState.UNDONE, [RUNPOD]) == (record.state, cloud.pools_of(HOST))
