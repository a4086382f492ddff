"""The NetBox agent follows changes, and takes nothing away that NetBox did not take away."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from standing import START, Clock, device
from structlog.testing import capture_logs

from spotd.agents.aggregates import AggregatesAgent
from spotd.agents.netbox import NetBoxAgent
from spotd.agents.state import Outcome
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.netbox import DeviceChanges
from spotd.fleet.readings import Source
from spotd.fleet.values import Aggregate, Device, Inventory, Unread


class FakeNetBox:
    """Three devices and the changes that are set."""

    def __init__(self) -> None:
        self.all: tuple[Device, ...] = (device(1), device(2), device(3))
        self.groups: dict[int, str | None] = {1: "Investors"}
        self.changes = DeviceChanges(changed=(), gone=frozenset())
        self.clock: datetime | None = START
        self.log_failure: CloudError | None = None
        self.asked: list[Any] = []

    def tenant_groups(self) -> dict[int, str | None]:
        self.asked.append("tenants")
        return self.groups

    def devices(self, groups: Any) -> tuple[tuple[Device, ...], datetime | None]:
        self.asked.append("devices")
        return self.all, self.clock

    def device_changes(self, since: datetime, groups: Any) -> tuple[DeviceChanges, datetime | None]:
        self.asked.append(since)
        if self.log_failure is not None:
            raise self.log_failure
        return self.changes, self.clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def netbox() -> FakeNetBox:
    return FakeNetBox()


@pytest.fixture
def agent(netbox: Any, clock: Clock) -> NetBoxAgent:
    agent = NetBoxAgent(netbox, clock, full_resync_seconds=3600)
    agent.collect()
    netbox.asked.clear()
    return agent


def devices(outcome: Outcome) -> dict[int, Device]:
    value = outcome.readings[Source.NETBOX].value
    assert isinstance(value, Inventory)
    return dict(value.devices)


def test_changes_and_departures_are_applied(agent: NetBoxAgent, netbox: FakeNetBox) -> None:
    """The rest stays."""
    failed = device(2, status="failed")
    netbox.changes = DeviceChanges(changed=(failed, device(4)), gone=frozenset({3, 99}))

    assert {1: device(1), 2: failed, 4: device(4)} == devices(agent.collect())


def test_changes_are_asked_for_by_netboxs_clock_with_an_overlap(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """Ours may be minutes off."""
    clock.move(300)

    agent.collect()

    assert [START - timedelta(minutes=2)] == netbox.asked


def test_a_token_that_may_not_read_the_change_log_reads_everything(
    agent: NetBoxAgent, netbox: FakeNetBox
) -> None:
    """Without the log no deletion would ever show."""
    netbox.log_failure = CloudError(Failure.FORBIDDEN, "no permission")
    netbox.all = (device(1),)

    assert {1} == set(devices(agent.collect()))


def test_other_failures_are_told(agent: NetBoxAgent, netbox: FakeNetBox) -> None:
    """And the position stays."""
    netbox.log_failure = CloudError(Failure.TIMEOUT, "slow")

    with pytest.raises(CloudError):
        agent.collect()


@pytest.mark.parametrize("loss", ["all", "groups"])
def test_an_empty_answer_is_not_believed_where_some_were(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock, loss: str
) -> None:
    """Devices or tenants."""
    clock.move(3601)
    setattr(netbox, loss, type(getattr(netbox, loss))())

    with pytest.raises(CloudError) as caught:
        agent.collect()

    assert caught.value.reason == Failure.INCOMPLETE


def test_without_a_clock_of_netbox_everything_is_read(agent: NetBoxAgent, netbox: FakeNetBox) -> None:
    """A proxy that drops the Date header leaves no position to go on from."""
    netbox.clock = None
    agent.collect()
    netbox.asked.clear()

    agent.collect()

    assert netbox.asked == ["tenants", "devices"]


def test_a_reading_does_not_change_after_it_was_handed_out(agent: NetBoxAgent, netbox: FakeNetBox) -> None:
    """Snapshots share it."""
    before = devices(agent.collect())
    netbox.changes = DeviceChanges(changed=(), gone=frozenset({1}))

    agent.collect()

    assert {1, 2, 3} == set(before)


def test_no_aggregate_at_all_is_not_believed_where_some_were(clock: Clock) -> None:
    """An empty answer would take every host out of its pool."""

    class FakeNova:
        rows = (Aggregate(id=1, uuid=None, name="H100-n3", hosts=("h1",), metadata={}),)

        def aggregates(self) -> tuple[Aggregate, ...]:
            return self.rows

    nova: Any = FakeNova()
    agent = AggregatesAgent(nova, clock)
    agent.collect()
    nova.rows = ()

    with pytest.raises(CloudError) as caught:
        agent.collect()

    assert caught.value.reason == Failure.INCOMPLETE


ODD = (Unread(field="gpu_count", value='"eight"'),)
ABSENT = (Unread(field="gpu_cuont", value=None),)


def told(agent: NetBoxAgent, clock: Clock) -> list[dict[str, Any]]:
    """What is logged when everything is read again."""
    clock.move(3601)
    with capture_logs() as logs:
        agent.collect()
    return [dict(entry) for entry in logs]


def test_a_field_that_cannot_be_read_is_told_once_with_an_example(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """And again where it came to be readable meanwhile."""
    netbox.all = (device(1), device(2, unread=ODD), device(3, unread=ODD))
    expected = {
        "log_level": "warning",
        "event": "netbox field cannot be read, so it is unknown",
        "field": "gpu_count",
        "devices": 2,
        "device": "d2",
        "value": '"eight"',
    }

    assert [expected] == told(agent, clock)
    assert [] == told(agent, clock)
    netbox.all = (device(1),)
    assert [] == told(agent, clock)
    netbox.all = (device(1), device(2, unread=ODD), device(3, unread=ODD))
    assert [expected] == told(agent, clock)


def test_a_custom_field_that_no_device_has_is_told_once(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """Its name in the settings is wrong, or nobody made it in NetBox."""
    netbox.all = tuple(device(number, unread=ABSENT) for number in (1, 2, 3))

    (entry,) = told(agent, clock)

    assert ("warning", "gpu_cuont", 3) == (entry["log_level"], entry["field"], entry["devices"])
    assert [] == told(agent, clock)


def test_a_custom_field_that_some_device_has_is_not_told(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """Then its name is right."""
    netbox.all = (device(1), device(2, unread=ABSENT))

    assert [] == told(agent, clock)


def test_a_value_that_a_change_brings_is_told_too(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """Not only what a full read finds."""
    netbox.changes = DeviceChanges(changed=(device(2, unread=ODD),), gone=frozenset())

    with capture_logs() as logs:
        agent.collect()

    assert [("gpu_count", 1)] == [(entry["field"], entry["devices"]) for entry in logs]


@pytest.mark.parametrize("off", [timedelta(days=365), timedelta(hours=2), timedelta(days=-2)])
def test_an_absurd_clock_of_netbox_is_one_bad_reading(
    off: timedelta, agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    """By a time to come, nothing would change any more until the next full read."""
    netbox.clock = clock.now() + off
    with pytest.raises(CloudError) as caught:
        agent.collect()
    netbox.clock = clock.now()

    agent.collect()

    assert Failure.MALFORMED == caught.value.reason
    assert all(since <= clock.now() for since in netbox.asked)


def test_a_clock_of_netbox_that_is_ahead_does_not_carry_the_position_away(
    agent: NetBoxAgent, netbox: FakeNetBox, clock: Clock
) -> None:
    netbox.clock = clock.now() + timedelta(minutes=30)
    agent.collect()

    agent.collect()

    assert netbox.asked[-1] <= clock.now() - timedelta(minutes=1)
