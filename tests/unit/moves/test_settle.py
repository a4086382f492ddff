"""A move that was left open comes to its end: forward where the destination is joined, else back."""

from datetime import timedelta
from typing import Any

import pytest
from moving import HOST, ONDEMAND, SPOT, FakeCloud, Spotd, order

from spotd.store.records import MoveState


class Crash(BaseException):
    """The process is gone."""


def crashed(spotd: Spotd, cloud: FakeCloud, operation: str, nth: int = 1) -> Any:
    """A move whose daemon died right before its n-th call of this kind."""
    left = [nth]

    def crash(called: str, _host: str) -> None:
        left[0] -= called == operation
        if left[0] == 0:
            left[0] = -1
            raise Crash

    record = spotd.begin(order())
    cloud.before = crash
    with pytest.raises(Crash):
        spotd.executor.run(record, token=spotd.token)
    cloud.before = lambda _operation, _host: None
    return record


def test_reads_the_move_anew_before_it_settles_it(cloud: FakeCloud, spotd: Spotd) -> None:
    """Whoever asks may have read it before its daemon fenced the host and died."""
    stale = crashed(spotd, cloud, "remove_host")
    cloud.pass_time(spotd.timing.quiet_seconds + 1)

    record = spotd.executor.settle(stale, token=spotd.token)

    assert MoveState.UNDONE == record.state
    assert "enabled" == cloud.hosts[HOST].status


def test_leaves_a_move_alone_that_ended_meanwhile(cloud: FakeCloud, spotd: Spotd) -> None:
    """Settled twice is settled once."""
    stale = spotd.begin(order())
    ended = spotd.executor.run(stale, token=spotd.token)
    written = len(cloud.log)

    again = spotd.executor.settle(stale, token=spotd.token)

    assert (ended.state, ended.finished_at) == (again.state, again.finished_at)
    assert written == len(cloud.log)


def test_goes_forward_where_the_destination_is_joined(cloud: FakeCloud, spotd: Spotd) -> None:
    """The host is where it should be."""
    crashed(spotd, cloud, "mirror")

    [record] = spotd.settle()

    assert MoveState.DONE == record.state
    assert [SPOT] == cloud.pools_of(HOST)
    assert "enabled" == cloud.hosts[HOST].status


def test_does_not_leave_the_origin_with_somebody_on_the_host(cloud: FakeCloud, spotd: Spotd) -> None:
    """Nobody vouches for the time since the daemon died between join and leave."""
    cloud.zones = dict.fromkeys(cloud.zones, "az-1")
    crashed(spotd, cloud, "remove_host")
    cloud.land(HOST)
    cloud.pass_time(spotd.timing.quiet_seconds + 1)

    [record] = spotd.settle()

    assert MoveState.UNDONE == record.state
    assert [ONDEMAND] == cloud.pools_of(HOST)
    assert "enabled" == cloud.hosts[HOST].status


def test_does_not_open_a_host_that_somebody_put_into_two_pools(cloud: FakeCloud, spotd: Spotd) -> None:
    """It would be sold twice."""
    crashed(spotd, cloud, "remove_host")
    cloud.members[3].append(HOST)
    cloud.pass_time(spotd.timing.quiet_seconds + 1)

    [record] = spotd.settle()

    assert MoveState.RUNNING == record.state
    assert "disabled" == cloud.hosts[HOST].status


def test_waits_while_there_is_no_snapshot(cloud: FakeCloud, spotd: Spotd) -> None:
    """Without it nobody knows which aggregates are pools."""
    crashed(spotd, cloud, "mirror")
    spotd.has_snapshot = False

    [record] = spotd.settle()

    assert MoveState.RUNNING == record.state


def test_puts_a_stranded_host_right_when_it_can_again(cloud: FakeCloud, spotd: Spotd) -> None:
    """As `spotd recover` asks for it."""
    cloud.faults["add_host"] = ["409", "409"]
    stranded = spotd.run(order())

    record = spotd.executor.settle(stranded, token=spotd.token)

    assert MoveState.STRANDED == stranded.state
    assert not record.is_open
    assert [ONDEMAND] == cloud.pools_of(HOST)
    assert "enabled" == cloud.hosts[HOST].status


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("disable_service", MoveState.UNDONE),
        ("remove_host", MoveState.UNDONE),
        ("add_host", MoveState.DONE),
        ("enable_service", MoveState.DONE),
    ],
)
def test_waits_for_no_write_that_is_seen_to_have_taken_effect(
    operation: str, expected: MoveState, cloud: FakeCloud, spotd: Spotd
) -> None:
    """A daemon that died right after it: another one need not keep the host closed."""

    def crash(called: str, _host: str) -> None:
        if called == operation:
            raise Crash

    record = spotd.begin(order())
    cloud.after = crash
    with pytest.raises(Crash):
        spotd.executor.run(record, token=spotd.token)
    cloud.after = lambda _operation, _host: None

    [ended] = spotd.settle()

    assert expected == ended.state
    assert "enabled" == cloud.hosts[HOST].status


@pytest.mark.parametrize("operation", ["disable_service", "remove_host", "add_host", "enable_service"])
def test_waits_for_a_write_in_which_a_daemon_died(operation: str, cloud: FakeCloud, spotd: Spotd) -> None:
    """It may have been sent."""
    crashed(spotd, cloud, operation)

    [ended] = spotd.settle()
    cloud.pass_time(spotd.timing.quiet_seconds + 1)
    [settled] = spotd.settle()

    assert MoveState.RUNNING == ended.state
    assert not settled.is_open
    assert 1 == len(cloud.pools_of(HOST))
    assert "enabled" == cloud.hosts[HOST].status


def test_tries_before_it_gives_up_on_a_move_that_a_daemon_left_open_long_ago(
    cloud: FakeCloud, spotd: Spotd
) -> None:
    """Patience is for an outage, not for the time in which no daemon ran."""
    crashed(spotd, cloud, "remove_host")
    cloud.pass_time(7 * 24 * 3600.0)
    spotd.has_snapshot, cloud.outage = False, "503 before"

    started = spotd.settle()
    spotd.has_snapshot = True
    out = spotd.settle()
    cloud.outage = None
    [ended] = spotd.settle()

    assert [MoveState.RUNNING] * 2 == [record.state for record in (*started, *out)]
    assert (MoveState.UNDONE, "enabled") == (ended.state, cloud.hosts[HOST].status)


def test_counts_patience_anew_after_each_time_that_it_could_look(cloud: FakeCloud, spotd: Spotd) -> None:
    """Two short outages are no long one."""
    crashed(spotd, cloud, "remove_host")
    cloud.outage = "503 before"
    spotd.settle()
    cloud.outage = None
    spotd.settle()
    cloud.outage = "503 before"
    cloud.pass_time(spotd.timing.patience_seconds + 1)

    [record] = spotd.settle()

    assert MoveState.RUNNING == record.state


@pytest.mark.parametrize("jump_seconds", [3600.0, -3600.0])
def test_a_clock_that_is_set_makes_the_quiet_neither_shorter_nor_longer(
    jump_seconds: float, cloud: FakeCloud, spotd: Spotd
) -> None:
    """Shorter, and the host would be opened in one pool while Nova still puts it into another."""
    cloud.faults["add_host"] = ["timeout late"]
    spotd.run(order())
    cloud.clock.time += timedelta(seconds=jump_seconds)

    cloud.pass_time(20.0)
    [early] = spotd.settle()
    cloud.pass_time(spotd.timing.quiet_seconds + 1)
    [ended] = spotd.settle()

    assert (MoveState.RUNNING, False) == (early.state, ended.is_open)
    assert 1 == len(cloud.pools_of(HOST))
    assert "enabled" == cloud.hosts[HOST].status


def test_puts_nothing_back_into_an_aggregate_that_was_made_anew(cloud: FakeCloud, spotd: Spotd) -> None:
    """Under the old id, or in another region: whoever made it did not mean this host."""
    cloud.faults["add_host"] = ["409"]

    def remake(operation: str, _host: str) -> None:
        if operation == "add_host":
            cloud.remade[1] = "another"

    cloud.before = remake

    record = spotd.run(order())

    assert MoveState.STRANDED == record.state
    assert [("add_host", HOST, SPOT)] == [call for call in cloud.log if call[0] == "add_host"]
    assert "disabled" == cloud.hosts[HOST].status


def test_goes_forward_only_in_the_aggregate_that_was_meant(cloud: FakeCloud, spotd: Spotd) -> None:
    """Somebody made it anew and put the host there: that is no end of this move."""
    crashed(spotd, cloud, "mirror")
    cloud.remade[2] = "another"

    [record] = spotd.settle()

    assert MoveState.DONE != record.state
    assert ("remove_host", HOST, SPOT) not in cloud.log
