"""What a collection does while things are half broken, and that nothing is lost when they heal."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from clouds_under_test import StandingClock, Watched, settings_of, watching

from spotd.agents.state import AgentName
from spotd.clouds.errors import Failure
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind

ONCE = frozenset({AgentName.GPUS})


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


def known(watched: Watched) -> set[str]:
    reading = watched.snapshot().readings.servers
    assert reading is not None
    return set(reading.value.servers)


def real(cloud: EmbeddedCloud) -> set[str]:
    return {server.id for server in cloud.world.servers.by_id.values() if not server.is_deleted}


def host_in(cloud: EmbeddedCloud, cell: str) -> str:
    wanted = cloud.world.servers.flavor("cpu-small").resources()
    return next(
        host.name
        for host in cloud.world.computes.hosts.values()
        if host.cell == cell
        and host.status == "enabled"
        and host.is_up
        and cloud.world.ledger.plan(host.provider_uuid, wanted)
    )


def finish_walk(watched: Watched) -> None:
    watched.until(lambda: watched.region.servers._walk.servers is not None)


def test_boots_and_deletes_between_refreshes_are_followed(cloud: EmbeddedCloud, watched: Watched) -> None:
    """A deleted server is in no list but that of changes."""
    watched.settle()
    gone = min(real(cloud))
    cloud.world.delete_server(gone)
    made = cloud.world.boot(host_in(cloud, "cell1"), "cpu-small").id
    watched.clock.move(15)

    watched.steady()

    assert real(cloud) == known(watched)
    assert gone not in known(watched)
    assert made in known(watched)


def test_a_change_in_a_cell_that_falls_silent_after_the_services_list_is_not_lost(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """The list of changes lacks the cell and says 200; only the next services list tells."""
    watched.settle()
    watched.clock.move(15)
    watched.steady()
    made = cloud.world.boot(host_in(cloud, "cell1"), "cpu-small").id
    watched.clock.move(15)
    original = watched.region.servers._nova.server_changes

    def with_the_cell_gone(since: object) -> object:
        cloud.world.cell_down(cell="cell1")
        return original(since)

    watched.region.servers._nova.server_changes = with_the_cell_gone
    watched.steady()
    assert made not in known(watched)
    watched.region.servers._nova.server_changes = original
    # Far beyond the overlap of changes-since.
    for _ in range(20):
        watched.clock.move(15)
        watched.steady()
        assert watched.state(AgentName.SERVERS).last_failure_reason == Failure.INCOMPLETE

    cloud.world.cell_down(down=False)
    watched.clock.move(15)
    watched.steady()

    assert real(cloud) == known(watched)


def test_a_first_walk_through_a_cell_that_was_away_does_not_count(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """The cell falls silent after the first services list and is back before the third."""
    original = watched.region.servers._nova.server_pages

    def without_a_cell() -> object:
        cloud.world.cell_down(cell="cell1")
        return original()

    watched.region.servers._nova.server_pages = without_a_cell
    watched.steady()
    finish_walk(watched)
    watched.region.servers._nova.server_pages = original
    watched.clock.move(15)
    watched.steady()
    assert watched.state(AgentName.SERVERS).last_failure_reason == Failure.INCOMPLETE
    assert watched.snapshot().readings.servers is None

    cloud.world.cell_down(down=False)
    watched.clock.move(15)
    watched.settle()

    assert real(cloud) == known(watched)


def test_a_walk_that_lost_servers_which_exist_is_refused(cloud: EmbeddedCloud, watched: Watched) -> None:
    """The old list stays, and the next walk brings the whole one."""
    watched.settle()
    before = known(watched)
    watched.clock.move(1000)
    cloud.faults.add(
        Fault(kind=FaultKind.EMPTY_PAGE, service="nova", path="/servers/detail.*limit=", times=1)
    )
    watched.steady()
    finish_walk(watched)
    watched.clock.move(15)

    watched.steady()

    assert watched.state(AgentName.SERVERS).last_failure_reason == Failure.INCOMPLETE
    assert before == known(watched)
    watched.clock.move(61)
    watched.settle()
    assert watched.state(AgentName.SERVERS).succeeded
    assert real(cloud) == known(watched)


def test_servers_deleted_and_archived_unseen_leave_with_the_next_walk(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Nova's archive forgets deletions: the walk lacks the servers and they are really gone."""
    watched.settle()
    gone = sorted(real(cloud))[:20]
    for server_id in gone:
        cloud.world.delete_server(server_id)
    watched.clock.move(1000)
    cloud.world.servers.archive(watched.clock.now())

    watched.steady()
    finish_walk(watched)
    watched.clock.move(15)
    watched.steady()

    assert watched.state(AgentName.SERVERS).succeeded
    assert real(cloud) == known(watched)
    assert not set(gone) & known(watched)


def test_refreshes_go_on_while_a_walk_is_slow(cloud: EmbeddedCloud, watched: Watched) -> None:
    """Changes are followed beside the walk, which hangs at its first page."""
    watched.settle()
    watched.clock.move(1000)
    cloud.faults.add(Fault(kind=FaultKind.HANG, service="nova", path="/servers/detail.*limit=", times=1))
    watched.steady()
    made = cloud.world.boot(host_in(cloud, "cell1"), "cpu-small").id
    watched.clock.move(15)

    watched.steady()

    assert watched.region.servers.walked == 0
    assert watched.state(AgentName.SERVERS).succeeded
    assert made in known(watched)


def test_a_walk_that_breaks_at_its_second_page_keeps_the_old_list(clock: StandingClock) -> None:
    """One refresh says so; those after it follow the changes again."""
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5, now=clock) as cloud:
        settings = settings_of(cloud, openstack={"page_size": 20})
        with watching(cloud, settings=settings, clock=clock) as watched:
            watched.settle()
            before = known(watched)
            clock.move(1000)
            cloud.faults.add(
                Fault(kind=FaultKind.STATUS, status=500, service="nova", path="/servers/detail.*marker=")
            )
            watched.steady()
            watched.until(lambda: watched.region.servers._walk.error is not None)
            clock.move(15)

            watched.steady()

            assert watched.state(AgentName.SERVERS).last_failure_reason == Failure.SERVER_ERROR
            assert before == known(watched)
            clock.move(15)
            watched.steady()
            assert watched.state(AgentName.SERVERS).succeeded
            cloud.faults.clear()
            clock.move(61)
            watched.settle()
            assert real(cloud) == known(watched)


def test_a_role_that_hides_hosts_is_told_by_its_policy(cloud: EmbeddedCloud, watched: Watched) -> None:
    """Servers without their host would make every host look empty."""
    watched.settle()
    before = watched.snapshot()
    cloud.world.boot(host_in(cloud, "cell1"), "cpu-small")
    cloud.faults.add(
        Fault(kind=FaultKind.WRONG_SHAPE, service="nova", path="/servers", missing="OS-EXT-SRV-ATTR:host")
    )
    watched.clock.move(15)

    watched.steady()

    state = watched.state(AgentName.SERVERS)
    assert state.last_failure_reason == Failure.FORBIDDEN
    assert "os-extended-server-attributes" in (state.last_failure_message or "")
    assert before.hosts == watched.snapshot().hosts


def test_a_change_that_placement_failed_to_tell_is_asked_for_again(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """The servers agent tells of a change once; a GPUs agent that failed at it must make up for it."""
    watched.settle()
    free = next(
        one.name
        for one in cloud.world.computes.hosts.values()
        if one.gpu_class and one.status == "enabled" and one.is_up and not cloud.world.servers_on(one.name)
    )
    kind = (cloud.world.host(free).gpu_class or "").removeprefix("CUSTOM_GPU_").replace("_", "-")
    cloud.world.boot(free, f"n3-{kind}x4")
    cloud.faults.add(Fault(kind=FaultKind.STATUS, status=500, service="placement"))
    watched.clock.move(15)
    watched.steady()
    assert watched.state(AgentName.GPUS).last_failure_reason == Failure.SERVER_ERROR
    cloud.faults.clear()
    watched.clock.move(15)

    watched.steady()

    assert watched.snapshot().hosts[free].gpus_used == 4


def test_a_change_told_while_placement_asked_for_a_pause_is_not_lost(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """The GPUs agent is not started at all in the refresh that hears of the change."""
    watched.settle()
    free = next(
        one.name
        for one in cloud.world.computes.hosts.values()
        if one.gpu_class and one.status == "enabled" and one.is_up and not cloud.world.servers_on(one.name)
    )
    kind = (cloud.world.host(free).gpu_class or "").removeprefix("CUSTOM_GPU_").replace("_", "-")
    slow_down = Fault(
        kind=FaultKind.STATUS, status=429, headers={"Retry-After": "20"}, service="placement", times=1
    )
    cloud.faults.add(slow_down)
    watched.clock.move(15)
    watched.collect(force=ONCE)
    cloud.world.boot(free, f"n3-{kind}x2")
    watched.clock.move(15)
    watched.steady()
    assert ("gpus", "asked_to_wait") in watched.recorder.skipped
    watched.clock.move(15)

    watched.steady()

    assert watched.snapshot().hosts[free].gpus_used == 2


def test_a_token_refused_to_all_at_once_is_renewed_once_and_nobody_fails(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """Eight threads meet the same refusal."""
    session = watched.region.session
    watched.collect()
    problems: list[Exception] = []

    def ask(barrier: threading.Barrier) -> None:
        barrier.wait()
        try:
            session.get("compute", "/os-aggregates", operation="ask", microversion="2.41")
        except Exception as error:  # noqa: BLE001 - every failure is the finding
            problems.append(error)

    for _ in range(10):
        cloud.world.revoke_tokens()
        barrier = threading.Barrier(8)
        threads = [threading.Thread(target=ask, args=(barrier,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert problems == []
    assert cloud.requests.count()["keystone", "POST", "/v3/auth/tokens"] <= 11


def test_after_a_restart_the_first_refresh_follows_on_from_the_file(
    cloud: EmbeddedCloud, watched: Watched, tmp_path: Path
) -> None:
    """No walk: the changes since the stored position, deletions too."""
    watched.settle()
    watched.clock.move(15)
    watched.steady()
    watched.region.save(tmp_path)
    cloud.world.delete_server(min(real(cloud)))
    watched.clock.move(200)
    with watching(cloud, clock=watched.clock) as restarted:
        assert restarted.region.resume(tmp_path, resume_seconds=3600)
        assert restarted.snapshot().hosts == watched.snapshot().hosts
        cloud.requests.clear()

        restarted.steady()

        assert not [r for r in cloud.requests.snapshot() if "limit=1000" in r.query and r.service == "nova"]
        assert real(cloud) == known(restarted)


def test_what_is_stored_is_never_older_than_the_position_beside_it(
    cloud: EmbeddedCloud, watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow runs ended after their collections: the last snapshot knows less than the servers agent."""
    watched.settle()
    monkeypatch.setattr(watched.region.collection, "publish", watched.snapshot)
    gone = min(real(cloud))
    cloud.world.delete_server(gone)
    for _ in range(3):
        watched.clock.move(200)
        watched.steady()
    assert gone in known(watched)

    watched.region.save(tmp_path)
    with watching(cloud, clock=watched.clock) as restarted:
        assert restarted.region.resume(tmp_path, resume_seconds=3600)
        restarted.steady()

        assert real(cloud) == known(restarted)


def test_the_token_is_forgotten_once_a_minute_while_a_service_cannot_be_reached(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """A moved endpoint is in a new catalog only; but Keystone is not asked at every refresh."""
    watched.collect()
    cloud.requests.clear()
    cloud.faults.add(Fault(kind=FaultKind.RESET, service="placement"))
    # Three minutes.
    for _ in range(13):
        watched.clock.move(15)
        watched.steady()

    asked = cloud.requests.count()["keystone", "POST", "/v3/auth/tokens"]

    assert 3 <= asked <= 4
