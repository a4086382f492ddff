from typing import Any

import pytest
from contract.under_test import Answer, CloudUnderTest

NOVA = [
    ("GET", "/os-aggregates", None, "os-aggregates:index"),
    ("GET", "/os-aggregates/1", None, "os-aggregates:show"),
    ("GET", "/os-services", None, "os-services:list"),
    ("GET", "/servers/detail?all_tenants=1", None, "servers:detail:get_all_tenants"),
    ("GET", "/servers?all_tenants=1", None, "servers:index:get_all_tenants"),
    ("GET", "/os-hypervisors/detail", None, "os-hypervisors:list-detail"),
    ("GET", "/os-migrations", None, "os-migrations:index"),
    ("GET", "/os-availability-zone/detail", None, "os-availability-zone:detail"),
    ("POST", "/os-aggregates/1/action", {"add_host": {"host": "x"}}, "os-aggregates:add_host"),
    ("POST", "/os-aggregates/1/action", {"remove_host": {"host": "x"}}, "os-aggregates:remove_host"),
    ("POST", "/os-aggregates", {"aggregate": {"name": "x"}}, "os-aggregates:create"),
    ("DELETE", "/os-aggregates/1", None, "os-aggregates:delete"),
    (
        "PUT",
        "/os-services/00000000-0000-0000-0000-000000000000",
        {"status": "disabled"},
        "os-services:update",
    ),
]
PLACEMENT = [
    ("/resource_providers", "resource_providers:list"),
    ("/allocation_candidates?resources=VCPU:1", "allocation_candidates:list"),
    ("/resource_providers/00000000-0000-0000-0000-000000000000/usages", "resource_providers:usages"),
    ("/usages?project_id=x", "usages"),
]


def as_member(cloud: CloudUnderTest, service: str, method: str, path: str, **more: Any) -> Answer:
    if cloud.member is None:
        pytest.skip(f"name a member's login {cloud.name}-demo in clouds.yaml to run this")
    version = "2.96" if service == "compute" else "1.39"
    return cloud.ask(service, method, path, version, login=cloud.member, **more)


@pytest.mark.parametrize(("method", "path", "body", "policy"), NOVA, ids=[f"{r[0]} {r[3]}" for r in NOVA])
def test_nova_names_the_policy_that_a_member_lacks(
    cloud: CloudUnderTest, method: str, path: str, body: dict[str, Any] | None, policy: str
) -> None:
    answer = as_member(cloud, "compute", method, path, json=body)

    text = f"Policy doesn't allow os_compute_api:{policy} to be performed."
    assert (answer.status_code, answer.json()) == (403, {"forbidden": {"code": 403, "message": text}})


@pytest.mark.parametrize(("path", "policy"), PLACEMENT, ids=[row[1] for row in PLACEMENT])
def test_placement_names_the_policy_that_a_member_lacks(
    cloud: CloudUnderTest, path: str, policy: str
) -> None:
    answer = as_member(cloud, "placement", "GET", path)

    error = answer.json()["errors"][0]
    lead = "Access was denied to this resource.\n\n "
    assert answer.status_code == 403
    assert error["detail"] == f"{lead}Policy does not allow placement:{policy} to be performed.  "


def test_a_members_host_filter_is_dropped_silently(cloud: CloudUnderTest) -> None:
    answer = as_member(cloud, "compute", "GET", "/servers/detail?host=no-such-host")

    assert answer.status_code == 200


def test_a_member_does_not_see_a_foreign_server(cloud: CloudUnderTest) -> None:
    server = cloud.nova("GET", "/servers?all_tenants=1&limit=1").json()["servers"][0]["id"]

    answer = as_member(cloud, "compute", "GET", f"/servers/{server}")

    assert answer.status_code == 404


def test_a_member_sees_zones_without_hosts(cloud: CloudUnderTest) -> None:
    answer = as_member(cloud, "compute", "GET", "/os-availability-zone")

    assert {zone["hosts"] for zone in answer.json()["availabilityZoneInfo"]} == {None}
