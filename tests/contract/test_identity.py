from dataclasses import replace
from datetime import UTC, datetime

import pytest
from contract.under_test import CloudUnderTest

UNAUTHORIZED = {
    "error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }
}
TOKEN_KEYS = {
    "methods",
    "user",
    "audit_ids",
    "expires_at",
    "issued_at",
    "project",
    "is_domain",
    "roles",
    "catalog",
}


def test_a_login_gives_a_token_with_roles_and_an_end(cloud: CloudUnderTest) -> None:
    answer = cloud.log_in(cloud.admin)

    token = answer.json()["token"]
    assert answer.status_code == 201
    assert set(token) == TOKEN_KEYS
    assert "admin" in [role["name"] for role in token["roles"]]
    assert datetime.fromisoformat(token["expires_at"]) > datetime.now(UTC)


def test_each_service_of_the_catalogue_has_three_interfaces(cloud: CloudUnderTest) -> None:
    catalog = cloud.log_in(cloud.admin).json()["token"]["catalog"]

    by_type = {service["type"]: service for service in catalog}
    assert {"compute", "placement", "identity"} <= set(by_type)
    for service in by_type.values():
        assert set(service) == {"endpoints", "id", "type", "name"}
        assert {e["interface"] for e in service["endpoints"]} == {"public", "internal", "admin"}
        assert set(service["endpoints"][0]) == {"id", "interface", "region_id", "url", "region"}


def test_a_wrong_password_is_a_401(cloud: CloudUnderTest) -> None:
    answer = cloud.log_in(replace(cloud.admin, password="wrong"))

    assert answer.status_code == 401
    assert answer.json() == UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_login_without_a_body_is_a_400(cloud: CloudUnderTest) -> None:
    answer = cloud.http.post(f"{cloud.auth_url}/auth/tokens", json={}, timeout=30)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Expecting to find auth in request body.")


def test_keystone_tells_its_version(cloud: CloudUnderTest) -> None:
    version = cloud.http.get(cloud.auth_url, timeout=30).json()["version"]

    assert set(version) == {"id", "status", "updated", "links", "media-types"}
    assert version["status"] == "stable"


@pytest.mark.parametrize("token", [None, "garbage"], ids=["no token", "garbage"])
@pytest.mark.parametrize("service", ["compute", "placement"])
def test_a_bad_token_is_a_401_of_the_middleware(
    cloud: CloudUnderTest, service: str, token: str | None
) -> None:
    path = "/servers" if service == "compute" else "/resource_providers"
    answer = cloud.ask(service, "GET", path, None, headers={"X-Auth-Token": token})

    assert answer.status_code == 401
    assert answer.json() == UNAUTHORIZED
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_revoked_token_is_a_401(cloud: CloudUnderTest) -> None:
    secret = cloud.log_in(cloud.admin).headers["X-Subject-Token"]
    mine = {"X-Auth-Token": cloud.token(cloud.admin), "X-Subject-Token": secret}

    revoked = cloud.http.delete(f"{cloud.auth_url}/auth/tokens", headers=mine, timeout=30)
    answer = cloud.nova("GET", "/servers?limit=1", headers={"X-Auth-Token": secret})

    assert revoked.status_code == 204
    assert answer.status_code == 401


def test_a_token_can_be_asked_about(cloud: CloudUnderTest) -> None:
    secret = cloud.token(cloud.admin)
    headers = {"X-Auth-Token": secret, "X-Subject-Token": secret}

    known = cloud.http.get(f"{cloud.auth_url}/auth/tokens", headers=headers, timeout=30)
    headers["X-Subject-Token"] = "garbage"
    unknown = cloud.http.get(f"{cloud.auth_url}/auth/tokens", headers=headers, timeout=30)

    assert set(known.json()["token"]) == TOKEN_KEYS
    assert unknown.status_code == 404


def test_a_project_is_known_by_its_name(cloud: CloudUnderTest) -> None:
    answer = cloud.http.get(
        f"{cloud.auth_url}/projects", headers={"X-Auth-Token": cloud.token(cloud.admin)}, timeout=30
    )

    projects = answer.json()["projects"]
    assert "admin" in [project["name"] for project in projects]
    assert {"id", "name", "domain_id", "enabled", "parent_id", "links"} <= set(projects[0])
