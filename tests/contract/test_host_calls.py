"""spotd's own calls about one host, on every cloud that is to be had."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract.under_test import CloudUnderTest, Login, unique

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.host_calls import HostCalls
from spotd.clouds.keystone import CloudSession
from spotd.clouds.preflight_moves import look_at_moves
from spotd.settings import Settings

Make = Callable[..., dict[str, Any]]
Boot = Callable[..., str]
NOBODY = "00000000-0000-0000-0000-000000000000"
NO_AGGREGATE = 999_999
TRAIT = "COMPUTE_STATUS_DISABLED"
REASON = "spotd contract test"


@contextmanager
def session_of(cloud: CloudUnderTest, login: Login, directory: Path) -> Iterator[CloudSession]:
    """A session of spotd's for one login."""
    path = directory / "clouds.yaml"
    path.write_text(cloud.as_clouds_yaml("tested", login))
    before = os.environ.get("OS_CLIENT_CONFIG_FILE")
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(path)
    try:
        settings = {"cloud": "tested", "request_timeout_seconds": 120.0}
        session = CloudSession(Settings.model_validate({"openstack": settings}))
    finally:
        if before is None:
            del os.environ["OS_CLIENT_CONFIG_FILE"]
        else:
            os.environ["OS_CLIENT_CONFIG_FILE"] = before
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def calls(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[HostCalls]:
    with session_of(cloud, cloud.admin, tmp_path) as session:
        yield HostCalls(session)


@pytest.fixture
def member_session(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[CloudSession]:
    if cloud.member is None:
        pytest.skip(f"name a member's login {cloud.name}-demo in clouds.yaml to run this")
    with session_of(cloud, cloud.member, tmp_path) as session:
        yield session


def refused(ask: Callable[[], object]) -> Failure:
    """Why; a refusal is never an unknown outcome."""
    with pytest.raises(CloudError) as caught:
        ask()
    assert not caught.value.may_have_happened, str(caught.value)
    return caught.value.reason


def root_of(cloud: CloudUnderTest, calls: HostCalls, host: str) -> str:
    """The host's root provider, found by its hypervisor's name."""
    return calls.provider_tree(cloud.provider(host)["name"])[0].uuid


def test_aggregates_are_those_that_nova_lists(cloud: CloudUnderTest, calls: HostCalls) -> None:
    rows = cloud.nova("GET", "/os-aggregates").json()["aggregates"]

    found = {(one.id, one.uuid, one.name, one.hosts) for one in calls.aggregates()}

    assert found == {(one["id"], one["uuid"], one["name"], tuple(one["hosts"])) for one in rows}


def test_a_host_joins_and_leaves_in_nova_and_in_the_mirror(
    cloud: CloudUnderTest, calls: HostCalls, aggregate: Make
) -> None:
    made, host = aggregate(), cloud.empty_host()
    root = root_of(cloud, calls, host)

    def seen() -> tuple[bool, bool]:
        inside = next(one.hosts for one in calls.aggregates() if one.id == made["id"])
        return host in inside, made["uuid"] in calls.mirror(root)

    looks = [seen()]
    calls.add_host(made["id"], host)
    looks.append(seen())
    again = refused(lambda: calls.add_host(made["id"], host))
    calls.remove_host(made["id"], host)
    looks.append(seen())
    gone = refused(lambda: calls.remove_host(made["id"], host))

    assert looks == [(False, False), (True, True), (False, False)]
    assert (again, gone) == (Failure.CONFLICT, Failure.NOT_FOUND)


def test_what_does_not_exist_is_not_found(cloud: CloudUnderTest, calls: HostCalls, aggregate: Make) -> None:
    made, host = aggregate()["id"], cloud.empty_host()

    reasons = {
        refused(ask)
        for ask in (
            lambda: calls.add_host(NO_AGGREGATE, host),
            lambda: calls.add_host(made, "no-such-host"),
            lambda: calls.remove_host(NO_AGGREGATE, host),
            lambda: calls.compute_service("no-such-host"),
            lambda: calls.servers_on("no-such-host"),
            lambda: calls.disable_service(NOBODY, REASON),
            lambda: calls.enable_service(NOBODY),
            lambda: calls.provider_tree("no-such-hypervisor"),
            lambda: calls.consumers([NOBODY]),
            lambda: calls.mirror(NOBODY),
            lambda: calls.traits(NOBODY),
        )
    }

    assert reasons == {Failure.NOT_FOUND}
    assert calls.unfinished_migrations("no-such-host") == ()


def test_another_availability_zone_is_a_conflict(
    cloud: CloudUnderTest, calls: HostCalls, aggregate: Make
) -> None:
    first, second, host = aggregate(unique("zone")), aggregate(unique("zone")), cloud.empty_host()
    calls.add_host(first["id"], host)

    assert refused(lambda: calls.add_host(second["id"], host)) == Failure.CONFLICT


def test_a_host_that_placement_forgot_is_repaired_by_leaving_and_joining(
    cloud: CloudUnderTest, calls: HostCalls, aggregate: Make
) -> None:
    """As after an add_host while Placement was down; adding again is a 409 and repairs nothing."""
    made, host = aggregate(), cloud.empty_host()
    root = root_of(cloud, calls, host)
    calls.add_host(made["id"], host)
    mirrored(cloud, root, without=made["uuid"])

    again = refused(lambda: calls.add_host(made["id"], host))
    before = made["uuid"] in calls.mirror(root)
    calls.remove_host(made["id"], host)
    calls.add_host(made["id"], host)

    assert (again, before, made["uuid"] in calls.mirror(root)) == (Failure.CONFLICT, False, True)


def test_leaving_an_aggregate_that_only_placement_has_cleans_the_mirror_and_is_a_404(
    cloud: CloudUnderTest, calls: HostCalls, aggregate: Make
) -> None:
    """Nova writes the mirror before it looks at its own list."""
    made, host = aggregate(), cloud.empty_host()
    root = root_of(cloud, calls, host)
    mirrored(cloud, root, also=made["uuid"])
    before = made["uuid"] in calls.mirror(root)

    gone = refused(lambda: calls.remove_host(made["id"], host))

    assert (before, gone, made["uuid"] in calls.mirror(root)) == (True, Failure.NOT_FOUND, False)


def mirrored(
    cloud: CloudUnderTest, root: str, *, also: str | None = None, without: str | None = None
) -> None:
    """Changes Placement alone."""
    path = f"/resource_providers/{root}/aggregates"
    seen = cloud.placement("GET", path).json()
    uuids = [one for one in seen["aggregates"] if one != without] + ([also] if also else [])
    body = {"aggregates": uuids, "resource_provider_generation": seen["resource_provider_generation"]}
    assert cloud.placement("PUT", path, json=body).status_code == 200


def test_a_service_is_found_by_its_host(cloud: CloudUnderTest, calls: HostCalls) -> None:
    row = cloud.service(cloud.empty_host())

    found = calls.compute_service(row["host"])

    assert (found.id, found.host, found.status, found.state) == (row["id"], row["host"], "enabled", "up")
    assert (found.disabled_reason, found.forced_down, found.zone) == (None, False, "nova")


def test_a_service_is_disabled_with_its_reason_and_enabled_again(
    cloud: CloudUnderTest, calls: HostCalls, idle_service: dict[str, Any]
) -> None:
    host, number = idle_service["host"], idle_service["id"]
    root = root_of(cloud, calls, host)

    def seen() -> tuple[str, str | None]:
        service = calls.compute_service(host)
        return service.status, service.disabled_reason

    calls.disable_service(number, "of somebody else")
    calls.disable_service(number, REASON)
    fenced = seen()
    marked = cloud.until(lambda: TRAIT in calls.traits(root))
    calls.enable_service(number)
    calls.enable_service(number)
    freed = cloud.until(lambda: TRAIT not in calls.traits(root))

    assert fenced == ("disabled", REASON)
    assert seen() == ("enabled", None)
    assert (marked, freed) == (True, True)


@pytest.mark.parametrize("reason", ["", "x" * 256], ids=["empty", "too long"])
def test_a_reason_that_nova_does_not_take_is_refused(
    calls: HostCalls, idle_service: dict[str, Any], reason: str
) -> None:
    assert refused(lambda: calls.disable_service(idle_service["id"], reason)) == Failure.REFUSED


def test_no_boot_lands_on_a_disabled_host(
    cloud: CloudUnderTest, calls: HostCalls, idle_service: dict[str, Any], boot: Boot
) -> None:
    host = idle_service["host"]
    calls.disable_service(idle_service["id"], REASON)

    server_id = boot(host=host)

    assert cloud.server(server_id)["status"] == "ERROR"
    assert calls.servers_on(host) == ()
    assert calls.consumers([root_of(cloud, calls, host)]) == frozenset()


def test_a_server_is_seen_by_nova_and_by_placement_and_is_gone_from_both(
    cloud: CloudUnderTest, calls: HostCalls, boot: Boot
) -> None:
    host = cloud.empty_host()
    root = root_of(cloud, calls, host)
    before = (calls.servers_on(host), calls.consumers([root]))

    server_id = boot(host=host)
    (server,) = calls.servers_on(host)
    held = calls.consumers([root])
    cloud.nova("DELETE", f"/servers/{server_id}")
    gone = cloud.until(lambda: not calls.servers_on(host) and not calls.consumers([root]))

    assert before == ((), frozenset())
    assert (server.id, server.host, server.status) == (server_id, host, "ACTIVE")
    assert (held, gone) == ({server_id}, True)


def test_servers_of_a_busy_host_are_all_there(cloud: CloudUnderTest, calls: HostCalls) -> None:
    host = cloud.busy_host()
    rows = cloud.nova("GET", f"/servers?all_tenants=1&host={host}").json()["servers"]

    assert {one.id for one in calls.servers_on(host)} == {row["id"] for row in rows}


def test_a_resize_that_waits_holds_its_source_though_nova_shows_no_server_there(
    cloud: CloudUnderTest, calls: HostCalls, boot: Boot
) -> None:
    """The allocation is the migration's; only after the confirmation is the host empty."""
    host = cloud.empty_host()
    root = root_of(cloud, calls, host)
    server_id = boot(host=host)
    cloud.nova("POST", f"/servers/{server_id}/action", json={"migrate": None})
    cloud.until(lambda: cloud.server(server_id)["status"] in ("VERIFY_RESIZE", "ERROR"))

    (migration,) = calls.unfinished_migrations(host)
    shown, held = calls.servers_on(host), calls.consumers([root])
    (arriving,) = [
        one for one in calls.unfinished_migrations(migration.dest_host or "") if one.uuid == migration.uuid
    ]
    cloud.nova("POST", f"/servers/{server_id}/action", json={"confirmResize": None})
    over = cloud.until(lambda: not calls.unfinished_migrations(host) and not calls.consumers([root]))

    assert (migration.status, migration.type, migration.server_id) == ("finished", "migration", server_id)
    assert (migration.source_host, arriving) == (host, migration)
    assert (shown, held, over) == ((), {migration.uuid}, True)


def test_migrations_are_paged_by_uuid(cloud: CloudUnderTest) -> None:
    """A marker that is none is a 400, and so is an unknown filter."""
    bad = cloud.nova("GET", f"/os-migrations?marker={NOBODY}", "2.59")
    unknown = cloud.nova("GET", "/os-migrations?bogus=1", "2.59")

    texts = [answer.json()["badRequest"]["message"] for answer in (bad, unknown)]
    assert texts == [
        f"Marker {NOBODY} could not be found.",
        "Additional properties are not allowed ('bogus' was unexpected)",
    ]


def test_a_tree_begins_with_the_hypervisors_provider(cloud: CloudUnderTest, calls: HostCalls) -> None:
    provider = cloud.provider(cloud.busy_host())

    tree = calls.provider_tree(provider["name"])

    assert (tree[0].uuid, tree[0].root, tree[0].is_root) == (provider["uuid"], provider["uuid"], True)
    assert all(one.root == provider["uuid"] for one in tree)


def test_a_member_may_do_nothing_of_it(cloud: CloudUnderTest, member_session: CloudSession) -> None:
    calls, host = HostCalls(member_session), cloud.empty_host()
    service, root = cloud.service(host)["id"], cloud.provider(host)["uuid"]

    reasons = {
        refused(ask)
        for ask in (
            calls.aggregates,
            lambda: calls.add_host(NO_AGGREGATE, host),
            lambda: calls.remove_host(NO_AGGREGATE, host),
            lambda: calls.compute_service(host),
            lambda: calls.disable_service(service, REASON),
            lambda: calls.enable_service(service),
            lambda: calls.servers_on(host),
            lambda: calls.unfinished_migrations(host),
            lambda: calls.provider_tree(host),
            lambda: calls.consumers([root]),
            lambda: calls.mirror(root),
            lambda: calls.traits(root),
        )
    }

    assert reasons == {Failure.FORBIDDEN}
    assert cloud.service(host)["status"] == "enabled"


def test_preflight_finds_every_right_of_an_admin_and_changes_nothing(
    cloud: CloudUnderTest, tmp_path: Path
) -> None:
    before = cloud.nova("GET", "/os-aggregates").json()

    with session_of(cloud, cloud.admin, tmp_path) as session:
        findings = list(look_at_moves(session))

    assert [one for one in findings if not one.is_met] == []
    assert len(findings) == 8
    assert cloud.nova("GET", "/os-aggregates").json() == before


def test_preflight_names_each_right_that_a_member_lacks(member_session: CloudSession) -> None:
    findings = list(look_at_moves(member_session))

    told = " ".join(one.detail for one in findings)
    assert [one for one in findings if one.is_met] == []
    for right in (
        "os_compute_api:os-migrations:index",
        "os_compute_api:servers:allow_all_filters",
        "placement:resource_providers:allocations:list",
        "placement:resource_providers:aggregates:list",
        "placement:resource_providers:traits:list",
        "os_compute_api:os-aggregates:add_host",
        "os_compute_api:os-aggregates:remove_host",
        "os_compute_api:os-services:update",
    ):
        assert f"the role needs {right}" in told
