"""A write over HTTP: what is told of it, how often it is sent, and what became of it."""

import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clouds_under_test import Watched, settings_of, watching

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import HostCalls
from spotd.sim import CloudSize, EmbeddedCloud, FaultKind, HostTruth, fault_on

SPARE = "spare-001"
POOL = "H100-n3-spot"
REASON = "spotd move 4711"


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, projects=2, netbox=False), seed=3) as running:
        yield running


@pytest.fixture
def region(cloud: EmbeddedCloud) -> Iterator[Watched]:
    """Answers come within half a second or not at all."""
    short = {"cloud": "embedded", "request_timeout_seconds": 0.5, "connect_timeout_seconds": 0.5}
    with watching(cloud, settings=settings_of(cloud, openstack=short)) as region:
        region.region.session.endpoint("compute")
        yield region


@pytest.fixture
def calls(region: Watched) -> HostCalls:
    return HostCalls(region.region.session)


Write = tuple[
    Callable[[EmbeddedCloud], None], Callable[[EmbeddedCloud, HostCalls], None], Callable[[HostTruth], bool]
]


def pool(cloud: EmbeddedCloud) -> int:
    return cloud.world.aggregate(POOL).id


def service_id(cloud: EmbeddedCloud) -> str:
    return cloud.world.host(SPARE).service_uuid


WRITES: dict[str, Write] = {
    "add_host": (
        lambda cloud: None,
        lambda cloud, calls: calls.add_host(pool(cloud), SPARE),
        lambda truth: truth.aggregates == (POOL,) == truth.mirror,
    ),
    "remove_host": (
        lambda cloud: cloud.world.add_host(POOL, SPARE) and None,
        lambda cloud, calls: calls.remove_host(pool(cloud), SPARE),
        lambda truth: truth.aggregates == () == truth.mirror,
    ),
    "disable_service": (
        lambda cloud: None,
        lambda cloud, calls: calls.disable_service(service_id(cloud), REASON),
        lambda truth: (truth.status, truth.disabled_reason) == ("disabled", REASON),
    ),
    "enable_service": (
        lambda cloud: cloud.operator.disable(SPARE, REASON),
        lambda cloud, calls: calls.enable_service(service_id(cloud)),
        lambda truth: (truth.status, truth.disabled_reason) == ("enabled", None),
    ),
}
FAULTS: dict[str, tuple[dict[str, Any], Failure, bool]] = {
    "hang": ({"kind": FaultKind.HANG}, Failure.TIMEOUT, True),
    "reset": ({"kind": FaultKind.RESET}, Failure.CONNECTION, True),
    "500": ({"kind": FaultKind.STATUS, "status": 500}, Failure.SERVER_ERROR, True),
    "502 of a proxy": ({"kind": FaultKind.HTML, "status": 502}, Failure.SERVER_ERROR, True),
    "503": ({"kind": FaultKind.STATUS, "status": 503}, Failure.SERVER_ERROR, True),
    "401": ({"kind": FaultKind.STATUS, "status": 401}, Failure.UNAUTHORIZED, False),
    "403": ({"kind": FaultKind.STATUS, "status": 403}, Failure.FORBIDDEN, False),
    "404": ({"kind": FaultKind.STATUS, "status": 404}, Failure.NOT_FOUND, False),
    "409": ({"kind": FaultKind.STATUS, "status": 409}, Failure.CONFLICT, False),
    "429": ({"kind": FaultKind.STATUS, "status": 429}, Failure.RATE_LIMITED, False),
    "truncated": ({"kind": FaultKind.TRUNCATED}, Failure.CONNECTION, True),
    "200 of a proxy": ({"kind": FaultKind.HTML, "status": 200}, Failure.MALFORMED, True),
    "another shape": ({"kind": FaultKind.WRONG_SHAPE}, Failure.MALFORMED, True),
}


def sent(cloud: EmbeddedCloud) -> int:
    return sum(one.method in ("POST", "PUT") and one.service == "nova" for one in cloud.requests.snapshot())


def written(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), repr(vars(error))])


@pytest.mark.parametrize("name", list(WRITES))
def test_a_write_takes_effect_and_is_sent_once(cloud: EmbeddedCloud, calls: HostCalls, name: str) -> None:
    prepare, write, is_done = WRITES[name]
    prepare(cloud)
    cloud.requests.clear()

    write(cloud, calls)

    assert is_done(cloud.operator.truth(SPARE))
    assert sent(cloud) == 1


@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", list(FAULTS))
@pytest.mark.parametrize("name", list(WRITES))
def test_a_write_that_fails_is_sent_once_and_says_whether_to_read_back(  # noqa: PLR0917 - a table
    cloud: EmbeddedCloud,
    calls: HostCalls,
    name: str,
    fault: str,
    after_effect: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a gateway's 502 nor a reset is tried again: the cloud may have done it."""
    caplog.set_level(logging.DEBUG)
    prepare, write, is_done = WRITES[name]
    ways, reason, unknown = FAULTS[fault]
    prepare(cloud)
    cloud.faults.add(fault_on(name, after_effect=after_effect, **ways))
    cloud.requests.clear()

    with pytest.raises(CloudError) as caught:
        write(cloud, calls)

    error = caught.value
    assert (error.reason, error.may_have_happened) == (reason, unknown)
    assert sent(cloud) == (2 if fault == "401" else 1)
    assert is_done(cloud.operator.truth(SPARE)) is after_effect
    told = written(error) + caplog.text
    assert not [token for token in cloud.world.identity.tokens if token in told]


@pytest.mark.parametrize("name", list(WRITES))
def test_a_token_that_ended_is_renewed_once_for_a_write(
    cloud: EmbeddedCloud, calls: HostCalls, name: str
) -> None:
    """The 401 says that it was not done."""
    prepare, write, is_done = WRITES[name]
    prepare(cloud)
    cloud.world.revoke_tokens()
    cloud.requests.clear()

    write(cloud, calls)

    assert is_done(cloud.operator.truth(SPARE))
    assert sent(cloud) == 2


@pytest.mark.parametrize(
    "ways",
    [{"kind": FaultKind.RESET}, {"kind": FaultKind.HANG}, {"kind": FaultKind.STATUS, "status": 503}],
    ids=["reset", "hang", "503"],
)
@pytest.mark.parametrize("ended", ["forgotten", "refused"])
def test_a_write_that_got_no_token_did_not_happen(
    cloud: EmbeddedCloud, region: Watched, calls: HostCalls, ways: dict[str, Any], ended: str
) -> None:
    """Keystone is down: before the write left, or after its token was refused."""
    if ended == "forgotten":
        region.region.session.forget_token()
    else:
        cloud.world.revoke_tokens()
    cloud.faults.add(fault_on("log_in", **ways))
    cloud.requests.clear()

    with pytest.raises(CloudError) as caught:
        calls.add_host(pool(cloud), SPARE)

    assert not caught.value.may_have_happened
    assert str(caught.value).startswith("keystone: ")
    assert sent(cloud) == (0 if ended == "forgotten" else 1)
    assert cloud.operator.truth(SPARE).aggregates == ()


@pytest.mark.parametrize("ended", ["forgotten", "refused"])
def test_a_token_renewed_by_another_thread_harms_no_call_that_is_looking_at_it(
    cloud: EmbeddedCloud, region: Watched, calls: HostCalls, ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keystoneauth asserts that a token is there, a moment after it looked whether one is needed."""
    session = region.region.session
    auth = session._session.auth  # the moment between its two looks is not to be had otherwise
    looks = auth._needs_reauthenticate
    old = auth.auth_ref.auth_token

    def renewed_meanwhile() -> bool:
        needed = bool(looks())
        monkeypatch.setattr(auth, "_needs_reauthenticate", looks)
        if ended == "forgotten":
            session.forget_token()
        else:
            session._authenticate(old)
        return needed

    monkeypatch.setattr(auth, "_lock", threading.RLock())
    monkeypatch.setattr(auth, "_needs_reauthenticate", renewed_meanwhile)

    auth.get_access(session._session)
    calls.add_host(pool(cloud), SPARE)

    assert cloud.operator.truth(SPARE).aggregates == (POOL,)
    assert auth.auth_ref.auth_token != old


def test_a_write_may_have_a_longer_time_than_a_read(cloud: EmbeddedCloud, region: Watched) -> None:
    """Disabling waits for a compute host that does not answer."""
    cloud.faults.add(fault_on("disable_service", FaultKind.LATENCY, seconds=0.8))
    calls = HostCalls(region.region.session, write_timeout_seconds=5)

    calls.disable_service(service_id(cloud), REASON)

    assert cloud.operator.truth(SPARE).disabled_reason == REASON


def test_with_placement_down_a_host_is_added_in_nova_alone_and_a_retry_repairs_nothing(
    cloud: EmbeddedCloud, calls: HostCalls
) -> None:
    """Taking it out and putting it in again does, once Placement is back."""
    number = pool(cloud)
    seen = []
    with cloud.placement_outage():
        for _ in range(2):
            with pytest.raises(CloudError) as caught:
                calls.add_host(number, SPARE)
            seen.append((caught.value.reason, caught.value.may_have_happened))
    with pytest.raises(CloudError, match="already has host"):
        calls.add_host(number, SPARE)
    broken = cloud.operator.truth(SPARE)

    calls.remove_host(number, SPARE)
    calls.add_host(number, SPARE)

    assert seen == [(Failure.SERVER_ERROR, True), (Failure.CONFLICT, False)]
    assert (broken.aggregates, broken.mirror) == ((POOL,), ())
    assert cloud.operator.truth(SPARE).mirror == (POOL,)


def test_with_placement_down_a_host_stays_where_it_is(cloud: EmbeddedCloud, calls: HostCalls) -> None:
    cloud.world.add_host(POOL, SPARE)

    with cloud.placement_outage(), pytest.raises(CloudError) as caught:
        calls.remove_host(pool(cloud), SPARE)

    assert caught.value.may_have_happened
    assert cloud.operator.truth(SPARE).aggregates == (POOL,) == cloud.operator.truth(SPARE).mirror


def test_a_dropped_filter_is_told_as_a_missing_right(cloud: EmbeddedCloud, calls: HostCalls) -> None:
    cloud.world.identity.may_filter = False

    with pytest.raises(CloudError, match="allow_all_filters"):
        calls.servers_on(SPARE)


@pytest.mark.parametrize("mode", ["silent", "error"])
def test_a_cell_that_is_down_is_no_empty_host(cloud: EmbeddedCloud, calls: HostCalls, mode: Any) -> None:
    cloud.world.cell_down(mode=mode)

    with pytest.raises(CloudError) as caught:
        calls.servers_on(SPARE)

    assert caught.value.reason in (Failure.INCOMPLETE, Failure.SERVER_ERROR)


def test_a_host_with_more_servers_than_a_page_is_read_whole(cloud: EmbeddedCloud, calls: HostCalls) -> None:
    cloud.world.max_limit = 3
    made = {cloud.world.boot(SPARE, "cpu-small").id for _ in range(7)}

    assert made == {server.id for server in calls.servers_on(SPARE)}
