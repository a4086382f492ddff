"""Nova is found where the catalog leads, and only its own words decide what is gone or allowed."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from clouds_under_test import Watched, watching

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.finding import Finding
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.identity import token_owner
from spotd.clouds.preflight import look
from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind, fault_on

SIZE = CloudSize(hosts=12, projects=2)
PATHS = ["", "/", "/v2", "/v2.1", "/v2.1/", "/v2.1/%(tenant_id)s", "/v2/%(tenant_id)s"]
PATHS += [f"/compute{path}" for path in ("", "/", "/v2", "/v2.1", "/v2.1/%(tenant_id)s")]
NEEDS_NO_LIST = {path for path in PATHS if "/v2.1" in path}
PROXY = {"kind": FaultKind.HTML, "status": 404}
BY_ANOTHER: dict[str, dict[str, Any]] = {
    "a page": PROXY,
    "json": {"kind": FaultKind.STATUS, "status": 404, "body": '{"message": "no Route matched"}'},
    "nova's document alone": {
        "kind": FaultKind.STATUS,
        "status": 404,
        "body": '{"itemNotFound": {"code": 404, "message": "spotd-preflight-no-such-host 2147483647"}}',
    },
    "placement's document alone": {
        "kind": FaultKind.STATUS,
        "status": 404,
        "body": '{"errors": [{"status": 404, "detail": "00000000-0000-0000-0000-000000000000"}]}',
    },
    "keystone's document alone": {
        "kind": FaultKind.STATUS,
        "status": 404,
        "body": '{"error": {"code": 404, "message": "x", "title": "Not Found"}}',
    },
    "headers alone": {
        "kind": FaultKind.STATUS,
        "status": 404,
        "body": "{}",
        "headers": {"OpenStack-API-Version": "compute 2.41", "X-OpenStack-Request-ID": "req-1"},
    },
    "nothing": {"kind": FaultKind.STATUS, "status": 404, "body": ""},
}


def refused(ask: Callable[[], Any]) -> CloudError:
    with pytest.raises(CloudError) as caught:
        ask()
    return caught.value


def unmet(watched: Watched) -> dict[str, Finding]:
    return {one.need: one for one in look(watched.region.session, None) if not one.is_met}


def lists_of_versions(cloud: EmbeddedCloud) -> int:
    return sum(
        one.service == "nova" and one.path.rstrip("/") in ("", "/v2", "/v2.1")
        for one in cloud.requests.snapshot()
    )


@pytest.mark.parametrize("path", PATHS)
def test_every_endpoint_that_the_openstack_command_understands_is_understood(path: str) -> None:
    """At most one request for the list of versions, and none in the steady state."""
    told: list[tuple[str, str]] = []
    with (
        EmbeddedCloud(dataclasses.replace(SIZE, compute_path=path)) as cloud,
        watching(cloud, observer=lambda *seen: told.append((seen[0], seen[1]))) as watched,
    ):
        watched.collect()
        first, asked = lists_of_versions(cloud), told.count(("nova", "versions"))
        missing = unmet(watched)
        watched.region.session.forget_token()
        cloud.requests.clear()
        watched.settle()

        assert missing == {}
        assert first == (0 if path in NEEDS_NO_LIST else 1)
        assert asked == first
        assert lists_of_versions(cloud) == 0
        assert watched.snapshot().readings.servers is not None


def test_an_address_of_clouds_yaml_is_looked_up_too(cloud: EmbeddedCloud) -> None:
    content = copy.deepcopy(cloud.clouds_yaml())
    content["clouds"]["embedded"]["compute_endpoint_override"] = cloud.nova_url.removesuffix("/v2.1")
    with watching(cloud, clouds_yaml=content) as watched:
        assert watched.region.servers._nova.compute_services().services


def test_a_nova_that_is_down_at_first_is_found_later() -> None:
    """Its failure is its own: no endpoint is blamed for it."""
    with EmbeddedCloud(dataclasses.replace(SIZE, compute_path="")) as cloud, watching(cloud) as watched:
        reset = cloud.faults.add(Fault(kind=FaultKind.RESET, service="nova"))

        error = refused(watched.region.servers._nova.compute_services)
        reset.remove()

        assert error.reason is Failure.CONNECTION
        assert watched.region.servers._nova.compute_services().services


@pytest.mark.parametrize("path", ["", "/v2"])
@pytest.mark.parametrize(
    "versions",
    [PROXY, {"kind": FaultKind.STATUS, "status": 200, "body": '{"versions": [{"id": 7}]}'}],
    ids=["a page", "another shape"],
)
def test_an_api_without_microversions_is_neither_read_nor_written(
    path: str, versions: dict[str, Any]
) -> None:
    """Where no list of versions tells, each answer has to: the old API leaves out cells that are down."""
    with EmbeddedCloud(dataclasses.replace(SIZE, compute_path=path)) as cloud, watching(cloud) as watched:
        cloud.faults.add(Fault(service="nova", method="GET", path=r"^(/v2(\.1)?)?/?$", **versions))
        cloud.faults.add(
            Fault(
                kind=FaultKind.STATUS,
                service="nova",
                path="/os-(aggregates|services)",
                status=200,
                body='{"services": [], "aggregates": []}',
            )
        )
        calls = HostCalls(watched.region.session)

        read = refused(calls.aggregates)
        written = refused(lambda: calls.add_host(1, "a-host"))

        assert (read.reason, written.reason) == (Failure.MICROVERSION, Failure.MICROVERSION)
        assert not written.may_have_happened
        assert not [
            one for one in cloud.requests.snapshot() if one.method == "POST" and one.service == "nova"
        ]


def test_a_nova_of_another_age_is_named() -> None:
    """The list of its versions has none that spotd speaks."""
    body = '{"versions": [{"id": "v3.0", "status": "CURRENT", "links": [{"rel": "self", "href": "/v3/"}]}]}'
    with EmbeddedCloud(dataclasses.replace(SIZE, compute_path="")) as cloud, watching(cloud) as watched:
        cloud.faults.add(
            Fault(kind=FaultKind.STATUS, service="nova", path="^/$", status=200, body=body, method="GET")
        )

        error = refused(watched.region.servers._nova.compute_services)

    assert error.reason is Failure.MICROVERSION
    assert "the compute endpoint in the catalog leads to no version 2.1" in str(error)


@pytest.mark.parametrize("by", list(BY_ANOTHER))
def test_what_somebody_else_does_not_find_proves_no_right(
    cloud: EmbeddedCloud, watched: Watched, by: str
) -> None:
    """A web server that knows no such path says 404 to everything."""
    watched.region.session.endpoint("compute")
    for service in ("nova", "placement"):
        cloud.faults.add(Fault(service=service, **BY_ANOTHER[by]))

    found = unmet(watched)

    needs = {"add hosts to aggregates", "remove them from aggregates", "disable and enable compute services"}
    needs |= {f"read a provider's {part}" for part in ("inventories", "usages", "aggregates", "traits")}
    needs.add("read who holds a provider")
    assert needs <= found.keys()
    assert all("cannot be told" in found[need].detail for need in needs)


def test_an_endpoint_at_which_nothing_is_proves_no_right(cloud: EmbeddedCloud, watched: Watched) -> None:
    """Placement says in its own words that it has no such path."""
    cloud.world.identity.move_endpoint("placement", cloud.placement_url + "/wrong")

    found = unmet(watched)

    assert "cannot be told" in found["read a provider's inventories"].detail


@pytest.mark.parametrize("operation", ["list_aggregates", "list_services", "list_providers"])
def test_a_good_answer_of_somebody_else_proves_no_right(
    cloud: EmbeddedCloud, watched: Watched, operation: str
) -> None:
    cloud.faults.add(fault_on(operation, FaultKind.STATUS, status=200, body='{"welcome": []}'))

    (finding,) = unmet(watched).values()

    assert "answered without a microversion" in finding.detail


GONE: dict[str, tuple[str, str, str, Callable[[Watched], Any]]] = {
    "a server": (
        "nova",
        "GET",
        "/servers/",
        lambda watched: watched.region.servers._nova.server_exists("s1"),
    ),
    "a member": (
        "nova",
        "POST",
        "/os-aggregates/",
        lambda watched: HostCalls(watched.region.session).remove_host(1, "a-host"),
    ),
    "a provider": (
        "placement",
        "GET",
        "/resource_providers/",
        lambda watched: HostCalls(watched.region.session).consumers(["u"]),
    ),
    "a token": ("keystone", "GET", "/auth/tokens", lambda watched: token_owner(watched.region.session, "t")),
}


@pytest.mark.parametrize("thing", list(GONE))
@pytest.mark.parametrize("by", list(BY_ANOTHER))
def test_nothing_is_gone_because_somebody_else_does_not_know_it(
    cloud: EmbeddedCloud, watched: Watched, thing: str, by: str
) -> None:
    service, method, path, ask = GONE[thing]
    cloud.faults.add(Fault(service=service, method=method, path=path, **BY_ANOTHER[by]))

    error = refused(lambda: ask(watched))

    assert (error.reason, error.status, error.may_have_happened) == (Failure.MALFORMED, 404, True)
    assert "a proxy in between" in str(error)


def test_what_the_service_itself_does_not_find_is_gone(cloud: EmbeddedCloud, watched: Watched) -> None:
    session = watched.region.session
    calls = HostCalls(session)

    assert not watched.region.servers._nova.server_exists("00000000-0000-0000-0000-000000000001")
    assert token_owner(session, "no-such-token") is None
    assert refused(lambda: calls.remove_host(2**31 - 1, "a-host")).reason is Failure.NOT_FOUND
    assert refused(lambda: calls.consumers(["no-such-provider"])).reason is Failure.NOT_FOUND


def test_an_endpoint_that_was_corrected_heals_without_a_restart(
    cloud: EmbeddedCloud, watched: Watched
) -> None:
    """The catalog is read anew after a failure that a wrong address explains."""
    good = cloud.placement_url
    cloud.faults.add(
        Fault(kind=FaultKind.STATUS, service="netbox", method="GET", path="^/moved", status=301, body="")
    )
    cloud.world.identity.move_endpoint("placement", cloud.netbox_url + "/moved")
    watched.settle()
    broken = watched.snapshot().readings.gpus

    cloud.world.identity.move_endpoint("placement", good)
    watched.clock.move(61)
    watched.collect()
    watched.collect()

    assert broken is None
    assert watched.snapshot().readings.gpus is not None
