import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from spotd.sim import OPERATIONS, EmbeddedCloud, Fault, FaultKind, fault_on

Ask = Callable[..., requests.Response]
SERVICES = r"/os-services"


def plant(cloud: EmbeddedCloud, kind: FaultKind, **more: Any) -> None:
    cloud.faults.add(Fault(service="nova", method="GET", path=SERVICES, kind=kind, **more))


def test_a_status_fault_sends_its_status_headers_and_the_services_shape(
    cloud: EmbeddedCloud, nova: Ask
) -> None:
    plant(cloud, FaultKind.STATUS, status=429, headers={"Retry-After": "7"})

    answer = nova("GET", "/os-services")

    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"
    assert answer.json() == {"overLimit": {"code": 429, "message": "Too Many Requests"}}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 429, 500, 502, 503, 504])
def test_every_status_can_be_sent(cloud: EmbeddedCloud, nova: Ask, status: int) -> None:
    plant(cloud, FaultKind.STATUS, status=status)

    assert nova("GET", "/os-services").status_code == status


def test_a_fault_meets_only_what_it_names(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.STATUS, status=503)

    assert nova("GET", "/os-aggregates").status_code == 200


def test_a_fault_ends_after_its_times(cloud: EmbeddedCloud, nova: Ask) -> None:
    handle = cloud.faults.add(Fault(kind="status", status=503, path=SERVICES, times=2))

    codes = [nova("GET", "/os-services").status_code for _ in range(3)]

    assert codes == [503, 503, 200]
    assert handle.met == 2


def test_a_rate_meets_a_share_that_the_seed_decides(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.STATUS, status=503, rate=0.5)

    codes = [nova("GET", "/os-services").status_code for _ in range(20)]

    assert {200, 503} == set(codes)


@pytest.mark.parametrize("status", [200, 502])
def test_a_proxys_page_is_html(cloud: EmbeddedCloud, nova: Ask, status: int) -> None:
    plant(cloud, FaultKind.HTML, status=status)

    answer = nova("GET", "/os-services")

    assert answer.status_code == status
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_truncated_body_breaks_off(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.TRUNCATED)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        nova("GET", "/os-services")


def test_a_reset_is_a_connection_error(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.RESET)

    with pytest.raises(requests.exceptions.ConnectionError):
        nova("GET", "/os-services")


def test_a_hanging_request_ends_when_the_faults_are_cleared(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.HANG)
    timer = threading.Timer(0.2, cloud.faults.clear)
    timer.start()

    with pytest.raises(requests.exceptions.ConnectionError):
        nova("GET", "/os-services")

    timer.join()


def test_a_hanging_request_does_not_block_the_stop(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.HANG)
    with pytest.raises(requests.exceptions.ReadTimeout):
        nova("GET", "/os-services", timeout=0.2)
    started = time.monotonic()

    cloud.stop()

    assert time.monotonic() - started < 1.0


def test_latency_delays_the_answer(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.LATENCY, seconds=0.2)
    started = time.monotonic()

    answer = nova("GET", "/os-services")

    assert answer.status_code == 200
    assert time.monotonic() - started >= 0.2


def test_a_service_can_be_slow_as_a_whole(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.faults.latency["nova"] = 0.1
    started = time.monotonic()

    nova("GET", "/os-aggregates")

    assert time.monotonic() - started >= 0.1


def test_a_dripping_answer_outlasts_a_read_timeout_per_byte(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.DRIP, seconds=0.01)
    started = time.monotonic()

    answer = nova("GET", "/os-services?host=nosuch", timeout=1)

    assert answer.json() == {"services": []}
    assert time.monotonic() - started >= 0.1


def test_an_empty_page_looks_like_no_hosts(cloud: EmbeddedCloud, nova: Ask) -> None:
    plant(cloud, FaultKind.EMPTY_PAGE)

    assert nova("GET", "/os-services").json() == {"services": []}


def test_a_page_loop_points_to_itself(cloud: EmbeddedCloud, netbox: Ask) -> None:
    cloud.faults.add(Fault(service="netbox", kind=FaultKind.PAGE_LOOP))

    page = netbox("/api/dcim/devices/?limit=2").json()

    assert page["next"] == f"{cloud.netbox_url}/api/dcim/devices/?limit=2"


def test_a_wrong_shape_is_another_type_or_lacks_a_key(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.faults.add(Fault(kind=FaultKind.WRONG_SHAPE, path=SERVICES, times=1))
    cloud.faults.add(Fault(kind=FaultKind.WRONG_SHAPE, path=SERVICES, missing="state"))

    other = nova("GET", "/os-services").json()
    lacking = nova("GET", "/os-services").json()

    assert isinstance(other, list)
    assert all("state" not in service for service in lacking["services"])


@pytest.mark.parametrize("more", [{"kind": "status", "status": 500}, {"kind": "reset"}], ids=["500", "reset"])
def test_a_write_can_take_effect_before_its_answer_is_lost(
    cloud: EmbeddedCloud, nova: Ask, more: dict[str, Any]
) -> None:
    world = cloud.world
    number = world.aggregate("H100-n3-spot").id
    cloud.faults.add(Fault(method="POST", path=f"/os-aggregates/{number}/action", after_effect=True, **more))

    try:
        code = nova(
            "POST", f"/os-aggregates/{number}/action", json={"add_host": {"host": "spare-001"}}
        ).status_code
    except requests.exceptions.ConnectionError:
        code = 0

    assert code in (0, 500)
    assert world.aggregates_of("spare-001") == ["H100-n3-spot"]


def test_a_lost_write_without_effect_changes_nothing(cloud: EmbeddedCloud, nova: Ask) -> None:
    number = cloud.world.aggregate("H100-n3-spot").id
    cloud.faults.add(Fault(method="POST", kind="status", status=503))

    nova("POST", f"/os-aggregates/{number}/action", json={"add_host": {"host": "spare-001"}})

    assert cloud.world.aggregates_of("spare-001") == []


def test_an_unknown_kind_is_refused_when_it_is_planted() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        Fault(kind="nosuch")


def add_host(cloud: EmbeddedCloud, nova: Ask, host: str = "spare-001") -> int:
    number = cloud.world.aggregate("H100-n3-spot").id
    return nova("POST", f"/os-aggregates/{number}/action", json={"add_host": {"host": host}}).status_code


def remove_host(cloud: EmbeddedCloud, nova: Ask) -> int:
    number = cloud.world.aggregate("H100-n3-spot").id
    body = {"remove_host": {"host": "spare-001"}}
    return nova("POST", f"/os-aggregates/{number}/action", json=body).status_code


def test_a_fault_on_an_operation_meets_no_other_on_the_same_path(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.faults.add(fault_on("remove_host", FaultKind.STATUS, status=503))

    codes = [add_host(cloud, nova), remove_host(cloud, nova)]

    assert codes == [200, 503]


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_every_operation_meets_its_own_request(
    cloud: EmbeddedCloud, nova: Ask, placement: Ask, operation: str
) -> None:
    host = cloud.world.host("spare-001")
    provider, service = f"/resource_providers/{host.provider_uuid}", f"/os-services/{host.service_uuid}"
    asks: dict[str, Callable[[], object]] = {
        "add_host": lambda: add_host(cloud, nova),
        "remove_host": lambda: remove_host(cloud, nova),
        "disable_service": lambda: nova("PUT", service, json={"status": "disabled"}),
        "enable_service": lambda: nova("PUT", service, json={"status": "enabled"}),
        "list_aggregates": lambda: nova("GET", "/os-aggregates"),
        "list_services": lambda: nova("GET", "/os-services?host=spare-001"),
        "list_servers": lambda: nova("GET", "/servers/detail?all_tenants=1&host=spare-001"),
        "list_migrations": lambda: nova("GET", "/os-migrations?host=spare-001"),
        "list_providers": lambda: placement("GET", "/resource_providers?name=spare-001"),
        "list_allocations": lambda: placement("GET", f"{provider}/allocations"),
        "read_mirror": lambda: placement("GET", f"{provider}/aggregates"),
        "read_traits": lambda: placement("GET", f"{provider}/traits"),
        "log_in": lambda: requests.post(f"{cloud.auth_url}/auth/tokens", json={}, timeout=10),
    }
    handle = cloud.faults.add(fault_on(operation, FaultKind.NONE))

    for ask in asks.values():
        ask()

    assert handle.met == 1
    assert set(asks) == set(OPERATIONS)


def test_a_fault_can_let_requests_pass_first(cloud: EmbeddedCloud, nova: Ask) -> None:
    handle = cloud.faults.add(fault_on("list_services", FaultKind.STATUS, status=503, skip=2, times=1))

    codes = [nova("GET", "/os-services").status_code for _ in range(4)]

    assert codes == [200, 200, 503, 200]
    assert (handle.passed, handle.met) == (2, 1)


@pytest.mark.parametrize("kind", [FaultKind.NONE, FaultKind.HANG])
def test_a_test_can_act_before_and_after_the_effect(cloud: EmbeddedCloud, nova: Ask, kind: FaultKind) -> None:
    seen: list[tuple[str, ...]] = []

    def look() -> None:
        seen.append(cloud.operator.truth("spare-001").aggregates)

    cloud.faults.add(fault_on("add_host", kind, before=look, after=look, after_effect=True))
    if kind is FaultKind.HANG:
        with pytest.raises(requests.exceptions.ReadTimeout):
            nova(
                "POST",
                f"/os-aggregates/{cloud.world.aggregate('H100-n3-spot').id}/action",
                json={"add_host": {"host": "spare-001"}},
                timeout=0.3,
            )
    else:
        assert add_host(cloud, nova) == 200

    assert seen == [(), ("H100-n3-spot",)]


@pytest.mark.parametrize("kind", [FaultKind.LONG, FaultKind.PACKED])
def test_a_body_can_be_as_long_as_wanted(cloud: EmbeddedCloud, nova: Ask, kind: FaultKind) -> None:
    """And, packed, come in a thousandth of the bytes."""
    plant(cloud, kind, body_bytes=2**22)

    answer = nova("GET", "/os-services")

    assert 2**22 <= len(answer.content) < 2**23
    assert len(answer.json()["services"]) > 0
    assert (int(answer.headers.get("Content-Length", 2**22)) < 2**16) is (kind is FaultKind.PACKED)


def test_pages_can_be_ever_new(cloud: EmbeddedCloud, nova: Ask) -> None:
    cloud.faults.add(fault_on("list_servers", FaultKind.NEW_PAGES))
    path, seen = "/servers/detail?all_tenants=1&limit=2", set()

    for _ in range(3):
        page = nova("GET", path).json()
        seen |= {row["id"] for row in page["servers"]}
        path = "/servers/detail?" + page["servers_links"][0]["href"].partition("?")[2]

    assert len(seen) > 3


@pytest.mark.parametrize("kind", list(FaultKind))
@pytest.mark.parametrize("after_effect", [False, True], ids=["before", "after"])
def test_every_fault_can_come_before_and_after_the_effect(
    cloud: EmbeddedCloud, nova: Ask, kind: FaultKind, after_effect: bool
) -> None:
    cloud.faults.add(fault_on("add_host", kind, after_effect=after_effect, seconds=0.0))
    number = cloud.world.aggregate("H100-n3-spot").id

    with contextlib.suppress(requests.RequestException):
        nova("POST", f"/os-aggregates/{number}/action", json={"add_host": {"host": "spare-001"}}, timeout=0.5)

    assert (cloud.world.aggregates_of("spare-001") == ["H100-n3-spot"]) is after_effect


def test_a_write_can_take_effect_after_its_client_has_given_up(cloud: EmbeddedCloud, nova: Ask) -> None:
    """A request that waits inside the service for a lock or a queue."""
    done = threading.Event()
    cloud.faults.add(fault_on("add_host", FaultKind.NONE, effect_after_seconds=0.4, after=done.set))
    number = cloud.world.aggregate("H100-n3-spot").id
    with pytest.raises(requests.exceptions.ReadTimeout):
        nova(
            "POST",
            f"/os-aggregates/{number}/action",
            json={"add_host": {"host": "spare-001"}},
            timeout=0.1,
        )
    before = cloud.world.aggregates_of("spare-001")

    assert done.wait(10)

    assert (before, cloud.world.aggregates_of("spare-001")) == ([], ["H100-n3-spot"])
