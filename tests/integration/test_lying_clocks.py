"""Times that a cloud tells are held against this machine's clock; an absurd one is one bad reading."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from clouds_under_test import StandingClock, Watched, settings_of, watching

from spotd.agents.state import AgentName
from spotd.clouds.errors import Failure
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind

OPENSTACK = frozenset({AgentName.AGGREGATES, AgentName.SERVERS, AgentName.GPUS})
SKEW = timedelta(seconds=30)
"""Half of the overlap that `changes-since` reaches back."""


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
def cloud(clock: StandingClock) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5, now=clock) as running:
        yield running


@pytest.fixture
def watched(cloud: EmbeddedCloud, clock: StandingClock) -> Iterator[Watched]:
    with watching(cloud, clock=clock) as region:
        yield region


def of_tokens(change: Callable[[dict[str, Any]], Any]) -> Fault:
    return Fault(
        kind=FaultKind.REWRITTEN,
        service="keystone",
        method="POST",
        path="/auth/tokens",
        rewrite=lambda document: {"token": change(document["token"])},
    )


def heartbeats(text: Any) -> Fault:
    def rewrite(document: Any) -> Any:
        return {"services": [{**row, "updated_at": text} for row in document["services"]]}

    return Fault(kind=FaultKind.REWRITTEN, service="nova", path="/os-services", rewrite=rewrite)


def real(cloud: EmbeddedCloud) -> set[str]:
    return {server.id for server in cloud.world.servers.by_id.values() if not server.is_deleted}


def known(watched: Watched) -> set[str]:
    reading = watched.snapshot().readings.servers
    assert reading is not None
    return set(reading.value.servers)


def failed(watched: Watched) -> dict[AgentName, str | None]:
    states = (watched.state(agent) for agent in AgentName)
    return {state.agent: state.last_failure_reason for state in states if state.succeeded is False}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda token: {**token, "expires_at": None}, id="null"),
        pytest.param(lambda token: {**token, "expires_at": "soon"}, id="no-time"),
        pytest.param(lambda token: {**token, "expires_at": 5}, id="number"),
        pytest.param(lambda token: {**token, "expires_at": ["2030"]}, id="list"),
        pytest.param(lambda token: {**token, "expires_at": "0001-01-01T00:00:00.000000Z"}, id="year-1"),
        pytest.param(lambda token: {**token, "expires_at": "0001-01-01T00:00:00+14:00"}, id="before-year-1"),
        pytest.param(lambda token: {**token, "expires_at": "2020-01-01T00:00:00.000000Z"}, id="past"),
        pytest.param(lambda token: {**token, "expires_at": "9999-12-31T23:59:59-14:00"}, id="past-year-9999"),
        pytest.param(lambda token: {}, id="empty-token"),
        pytest.param(lambda token: None, id="null-token"),
        pytest.param(lambda token: [token], id="list-of-tokens"),
        pytest.param(lambda token: {**token, "catalog": 5}, id="catalog-number"),
        pytest.param(lambda token: {**token, "catalog": [5]}, id="catalog-of-numbers"),
        pytest.param(
            lambda token: {**token, "catalog": [{"type": "compute", "endpoints": [{"url": 5}]}]},
            id="url-number",
        ),
    ],
)
def test_a_token_nobody_could_work_with_is_one_failed_reading(
    change: Callable[[dict[str, Any]], Any], cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Kept, it would fail every call until a restart."""
    before = watched.settle()
    cloud.faults.add(of_tokens(change))
    watched.region.session.forget_token()
    watched.clock.move(15)

    watched.collect()

    assert dict.fromkeys(OPENSTACK, Failure.MALFORMED) == failed(watched)
    assert before.hosts == watched.snapshot().hosts
    cloud.faults.clear()
    watched.clock.move(15)
    watched.collect()
    assert {} == failed(watched)


def test_a_token_that_claims_to_last_is_renewed_when_it_is_refused(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Its end is never waited for: a 401 says that it is over."""
    cloud.faults.add(of_tokens(lambda token: {**token, "expires_at": "9999-12-31T23:59:59.999999Z"}))
    watched.settle()
    cloud.world.revoke_tokens()
    watched.clock.move(15)

    watched.collect()

    assert {} == failed(watched)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00.000000", "9999-12-31T23:59:59.000000", "1970-01-01"])
@pytest.mark.parametrize("warm", [True, False])
def test_absurd_heartbeats_are_one_bad_reading_that_the_next_good_one_heals(
    text: str, warm: bool, cloud: EmbeddedCloud, watched: Watched
) -> None:
    """A position taken from them would lie in the future, and nothing would seem to change for ever."""
    if warm:
        watched.settle()
    before = real(cloud)
    cloud.faults.add(heartbeats(text))
    for _ in range(3):
        watched.clock.move(2)
        watched.steady()
        assert {AgentName.SERVERS: Failure.MALFORMED} == failed(watched)
    gone = min(before)
    cloud.world.delete_server(gone)

    cloud.faults.clear()
    watched.clock.move(15)
    watched.settle()

    assert {} == failed(watched)
    assert gone not in known(watched)
    assert real(cloud) == known(watched)


@pytest.mark.parametrize("ahead", [timedelta(seconds=45), timedelta(minutes=10), timedelta(minutes=59)])
def test_a_position_never_passes_our_own_time_by_more_than_the_skew_allowed(
    ahead: timedelta, cloud: EmbeddedCloud, watched: Watched
) -> None:
    """A clock that is a little wrong harms nobody, and what changed meanwhile is followed all the same."""
    watched.settle()
    lie = (watched.clock.now() + ahead).strftime("%Y-%m-%dT%H:%M:%S.000000")
    cloud.faults.add(heartbeats(lie))
    for _ in range(4):
        watched.clock.move(5)
        watched.steady()
        position = watched.region.servers.position
        assert position is not None
        assert position <= watched.clock.now() + SKEW
    cloud.world.delete_server(min(real(cloud)))
    watched.clock.move(5)
    watched.steady()
    assert real(cloud) == known(watched)

    cloud.faults.clear()
    cloud.world.delete_server(min(real(cloud)))
    watched.clock.move(5)
    watched.steady()

    assert real(cloud) == known(watched)


def test_without_any_heartbeat_a_first_walk_looks_back_far_enough_for_any_clock(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Nova's clock is an hour behind ours at most, and nothing else tells it."""
    cloud.faults.add(heartbeats(None))
    watched.collect()
    watched.until(lambda: watched.region.servers._walk.servers is not None)
    cloud.requests.clear()

    watched.collect()

    (asked,) = {r.query for r in cloud.requests.snapshot() if "changes-since" in r.query}
    since = datetime.strptime(asked.split("changes-since=")[1][:23], "%Y-%m-%dT%H%%3A%M%%3A%S").replace(
        tzinfo=UTC
    )
    assert since <= watched.clock.now() - timedelta(hours=1)
    watched.settle()
    assert real(cloud) == known(watched)


def test_settings_of_the_overlap_bound_the_skew(cloud: EmbeddedCloud, clock: StandingClock) -> None:
    settings = settings_of(cloud, collection={"changes_overlap_seconds": 10.0})
    with watching(cloud, clock=clock, settings=settings) as watched:
        watched.settle()
        lie = (clock.now() + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000000")
        cloud.faults.add(heartbeats(lie))
        watched.steady()
        watched.steady()
        position = watched.region.servers.position

    assert position is not None
    assert position <= clock.now() + timedelta(seconds=5)
