"""The API of a daemon on an embedded cloud, asked as its users ask it."""

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from daemons import Face, quick_settings, running, write_clouds_file
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud, Fault, FaultKind
from spotd.web.api.auth import hash_of, new_token

TOKEN = new_token()
VERBATIM = (
    "curl -X POST http://localhost:8080/api/clear-cache",
    "curl http://localhost:8080/api/cache-stats",
    'curl "http://localhost:8080/api/aggregates/H100?force_refresh=true"',
)


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as started:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(started, tmp_path)))
        yield started


@pytest.fixture
def face(cloud: EmbeddedCloud) -> Iterator[Face]:
    settings = quick_settings(cloud, api={"keystone_roles": {"admin": "admin"}, "reads": "credential"})
    with running(settings) as started:
        started.settle()
        yield started


@pytest.fixture
def open_face(cloud: EmbeddedCloud) -> Iterator[Face]:
    with running(quick_settings(cloud)) as started:
        started.settle()
        yield started


@pytest.fixture
def patient_face(cloud: EmbeddedCloud) -> Iterator[Face]:
    """Its aggregates count as fresh for minutes."""
    with running(quick_settings(cloud, cache={"aggregates_seconds": 200.0})) as started:
        started.settle()
        yield started


def keystone_token(cloud: EmbeddedCloud) -> str:
    auth = cloud.clouds_yaml()["clouds"]["embedded"]["auth"]
    user = {"name": auth["username"], "domain": {"name": "Default"}, "password": auth["password"]}
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": auth["project_name"], "domain": {"name": "Default"}}},
        }
    }
    answer = requests.post(f"{auth['auth_url']}/auth/tokens", json=body, timeout=5)
    return answer.headers["X-Subject-Token"]


def test_the_three_commands_work_verbatim(open_face: Face) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    for command in VERBATIM:
        words = shlex.split(
            command.replace("http://localhost:8080", open_face.url.replace("127.0.0.1", "localhost"))
        )

        done = subprocess.run([curl, "-sf", *words[1:]], capture_output=True, check=False, timeout=20)

        assert (done.returncode, b'"success":true' in done.stdout) == (0, True), (command, done)


def test_a_forced_refresh_asks_clouds_whose_answers_are_still_fresh(
    cloud: EmbeddedCloud, patient_face: Face
) -> None:
    face = patient_face

    def lists() -> int:
        return sum("os-aggregates" in request.path for request in cloud.requests.snapshot())

    asked = lists()

    answer = face.get("/api/aggregates/H100?force_refresh=true", seconds=20).json()

    assert answer["success"]
    assert lists() > asked
    assert answer["metadata"]["snapshot_timestamp"] >= answer["metadata"]["timestamp"] - 2


def test_a_cleared_cache_is_filled_again_and_nothing_vanishes_meanwhile(
    cloud: EmbeddedCloud, open_face: Face
) -> None:
    requests.post(f"{open_face.url}/api/clear-cache", timeout=5)

    assert open_face.scrape().get("spotd_pool_hosts", gpu_type="H100", pool="ondemand") is not None
    assert open_face.is_ready()


def test_a_keystone_token_is_a_credential(cloud: EmbeddedCloud, face: Face) -> None:
    token = keystone_token(cloud)

    def status(headers: dict[str, str]) -> int:
        return requests.get(f"{face.url}/api/hosts", headers=headers, timeout=5).status_code

    assert status({}) == 401
    assert status({"X-Auth-Token": token}) == 200
    assert status({"Authorization": f"Bearer {token}"}) == 200
    assert status({"X-Auth-Token": token + "x"}) == 401


def test_a_keystone_that_is_down_is_no_open_door(cloud: EmbeddedCloud, face: Face) -> None:
    token = keystone_token(cloud)
    cloud.faults.add(Fault(kind=FaultKind.STATUS, service="keystone", path="/v3/auth/tokens", status=503))

    answer = requests.get(f"{face.url}/api/hosts", headers={"X-Auth-Token": token}, timeout=20)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "cloud_failed")
    assert token not in answer.text


def test_servers_of_a_host_are_nova_s_own(cloud: EmbeddedCloud, open_face: Face) -> None:
    def busy() -> Any:
        items = open_face.get("/api/hosts?sort=-servers&limit=1").json()["data"]["items"]
        return items[0] if items and items[0]["servers"] else None

    host = until(busy, seconds=10)
    assert host is not None

    data = open_face.get(f"/api/host-vms/{host['name']}").json()["data"]

    assert len(data["servers"]) == host["servers"]


def test_a_failure_is_remembered_by_the_sources(cloud: EmbeddedCloud, open_face: Face) -> None:
    cloud.faults.add(Fault(kind=FaultKind.STATUS, service="nova", path="/os-services", status=500))

    def failures() -> Any:
        items = open_face.get("/api/sources").json()["data"]["items"]
        return next(item for item in items if item["agent"] == "servers")["failures"]

    until(failures, seconds=10)
    cloud.faults.clear()

    def recovered() -> bool:
        items = open_face.get("/api/sources").json()["data"]["items"]
        return bool(next(item for item in items if item["agent"] == "servers")["succeeded"])

    until(recovered, seconds=10)
    assert failures()[0]["reason"] == "server_error"


def test_an_admin_makes_describes_and_deletes_an_aggregate(cloud: EmbeddedCloud) -> None:
    settings = quick_settings(cloud, api={"tokens": [{"name": "a", "role": "admin", "hash": hash_of(TOKEN)}]})
    with running(settings) as face:
        face.settle()

        def sent(method: str, path: str, body: Any = None) -> requests.Response:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            return requests.request(
                method, f"{face.url}/api/host-aggregates{path}", json=body, headers=headers, timeout=10
            )

        made = sent("POST", "", {"name": "B200-n3"}).json()["data"]
        number = made["id"]
        described = sent("PUT", f"/{number}/metadata", {"metadata": {"spotd:pool": "spot"}}).json()["data"]
        twice = sent("POST", "", {"name": "B200-n3"})
        deleted = sent("DELETE", f"/{number}")
        full = next(a for a in sent("GET", "").json()["data"]["items"] if a["hosts"])

        assert described["metadata"] == {"spotd:pool": "spot"}
        assert (twice.status_code, twice.json()["error"]["code"]) == (409, "conflict")
        assert deleted.status_code == 200
        assert sent("DELETE", f"/{number}").json()["error"]["code"] == "unknown_aggregate"
        assert sent("DELETE", f"/{full['id']}").json()["error"]["code"] == "aggregate_not_empty"
        assert number not in cloud.world.aggregates.by_id
