import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from contract.under_test import (
    WHY_NO_CLOUD,
    WHY_NO_NETBOX,
    CloudUnderTest,
    Login,
    NetBoxUnderTest,
    real_cloud,
    unique,
)

from spotd.sim import CloudSize, EmbeddedCloud

ADMIN = Login("admin", "lab", "admin")
DEMO = Login("demo", "lab", "demo")
REAL = pytest.param("real", marks=pytest.mark.lab)


@pytest.fixture(scope="session")
def embedded() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, projects=5), seed=7) as cloud:
        cloud.world.delays.host_seconds = 0.05
        cloud.world.delays.active_seconds = 0.1
        cloud.world.delays.delete_seconds = 0.05
        yield cloud


@pytest.fixture(scope="session", params=["embedded", REAL])
def cloud(request: pytest.FixtureRequest) -> CloudUnderTest:
    if request.param == "embedded":
        sim = request.getfixturevalue("embedded")
        return CloudUnderTest("embedded", sim.auth_url, ADMIN, DEMO)
    found = real_cloud()
    if found is None:
        pytest.skip(WHY_NO_CLOUD)
    return found


@pytest.fixture(scope="session", params=["embedded", REAL])
def netbox(request: pytest.FixtureRequest) -> NetBoxUnderTest:
    if request.param == "embedded":
        sim = request.getfixturevalue("embedded")
        return NetBoxUnderTest("embedded", sim.netbox_url, sim.netbox_token)
    url, token = os.environ.get("SPOTD_TEST_NETBOX_URL"), os.environ.get("SPOTD_TEST_NETBOX_TOKEN")
    if not url or not token:
        pytest.skip(WHY_NO_NETBOX)
    return NetBoxUnderTest("real", url.rstrip("/"), token)


@pytest.fixture
def aggregate(cloud: CloudUnderTest) -> Iterator[Callable[..., dict[str, Any]]]:
    """Makes aggregates that are emptied and deleted afterwards."""
    made: list[int] = []

    def make(zone: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"name": unique("aggregate")}
        if zone is not None:
            body["availability_zone"] = zone
        answer = cloud.nova("POST", "/os-aggregates", json={"aggregate": body})
        created: dict[str, Any] = answer.json()["aggregate"]
        made.append(created["id"])
        return created

    yield make
    for number in made:
        shown = cloud.nova("GET", f"/os-aggregates/{number}")
        if shown.status_code == 404:
            continue
        for host in shown.json()["aggregate"]["hosts"]:
            cloud.nova("POST", f"/os-aggregates/{number}/action", json={"remove_host": {"host": host}})
        cloud.nova("DELETE", f"/os-aggregates/{number}")


@pytest.fixture
def boot(cloud: CloudUnderTest) -> Iterator[Callable[..., str]]:
    """Boots small servers that are deleted afterwards; gives the id once it is no longer in BUILD."""
    made: list[str] = []

    def run(version: str = "2.74", **more: Any) -> str:
        answer = cloud.nova("POST", "/servers", version, json=cloud.boot_body(unique("server"), **more))
        assert answer.status_code == 202, answer.text
        server_id = str(answer.json()["server"]["id"])
        made.append(server_id)
        cloud.until(lambda: cloud.server(server_id)["status"] != "BUILD")
        return server_id

    yield run
    for server_id in made:
        cloud.nova("DELETE", f"/servers/{server_id}")
    for server_id in made:
        cloud.until(lambda one=server_id: cloud.nova("GET", f"/servers/{one}").status_code == 404)


@pytest.fixture
def idle_service(cloud: CloudUnderTest) -> Iterator[dict[str, Any]]:
    """The service of an empty host; enabled again afterwards."""
    service = cloud.service(cloud.empty_host())
    yield service
    cloud.nova("PUT", f"/os-services/{service['id']}", json={"forced_down": False})
    cloud.nova("PUT", f"/os-services/{service['id']}", json={"status": "enabled"})
