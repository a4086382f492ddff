"""The old workflow over the API, on the embedded cloud and, where one is named, on a real Nova.

On a real cloud it moves one empty host to another pool of its GPU type, and back: use a test cloud.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from api_workflow import NobodyMayMove, Operator
from daemons import Face, quick_settings, running, write_clouds_file
from waiting import until

from spotd.settings import Settings
from spotd.sim import CloudSize, EmbeddedCloud
from spotd.store.store import open_store
from spotd.web.api.auth import hash_of, new_token

TOKEN = new_token()
API = {"tokens": [{"name": "ops", "role": "operator", "hash": hash_of(TOKEN)}]}
WHY_NO_CLOUD = (
    "set SPOTD_TEST_CLOUD to the name of a cloud in clouds.yaml to run this against a real OpenStack"
)


@contextmanager
def leading(settings: Settings, tmp_path: Path) -> Iterator[Face]:
    with running(settings, store=open_store(f"sqlite:///{tmp_path / 'journal.sqlite'}")) as face:
        until(face.is_ready, seconds=60)
        until(lambda: face.scrape().get("spotd_fleet_servers") is not None, seconds=60)
        until(lambda: face.scrape().get("spotd_leader") == 1, seconds=30)
        yield face


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.lab)])
def face(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    if request.param == "embedded":
        with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as cloud:
            monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
            moves = {"settle_seconds": 0.1, "proof_gap_seconds": 0.1}
            with leading(quick_settings(cloud, api=API, moves=moves), tmp_path) as started:
                yield started
        return
    name = os.environ.get("SPOTD_TEST_CLOUD")
    if not name:
        pytest.skip(WHY_NO_CLOUD)
    groups: dict[str, Any] = {
        "openstack": {"cloud": name},
        "web": {"listen_address": "127.0.0.1:0"},
        "cache": {"snapshot_seconds": 5.0},
        "moves": {"settle_seconds": 5.0, "proof_gap_seconds": 2.0},
        "api": API,
    }
    with leading(Settings.model_validate(groups), tmp_path) as started:
        yield started


def movable(operator: Operator, request: pytest.FixtureRequest) -> dict[str, str]:
    """A host that may move; a real cloud may be sold out, the embedded one is not."""
    try:
        return operator.movable()
    except NobodyMayMove as error:
        if request.node.callspec.params["face"] == "real":
            pytest.skip(str(error))
        raise


@pytest.mark.timeout(400)
def test_list_preview_execute_verify_and_log(face: Face, request: pytest.FixtureRequest) -> None:
    operator = Operator(face.url, TOKEN)
    wish = movable(operator, request)
    preview = operator.post("/preview-migration", wish).json()["data"]
    origin = preview["origin"]["name"]
    assert f"aggregate add host {wish['target_aggregate']} {wish['host']}" in str(preview["steps"])

    there = operator.moved(wish, seconds=150)
    here = operator.get(f"/aggregates/{there['gpu_type']}?force_refresh=true&limit=1")["aggregates"]
    holding = {found["name"] for found in here if wish["host"] in found["hosts"]}
    servers = operator.get(f"/host-vms/{wish['host']}")["servers"]
    back = operator.moved({**wish, "target_aggregate": origin}, seconds=150)

    assert (there["state"], back["state"]) == ("done", "done"), (there["sentence"], back["sentence"])
    assert {"fence", "leave", "join", "verify", "release"} <= {step["step"] for step in there["steps"]}
    assert (holding, servers) == ({wish["target_aggregate"]}, [])
    journal = operator.get("/journal?limit=2")["items"]
    assert [(entry["id"], entry["asked_by"]) for entry in journal] == [
        (back["id"], "api ops"),
        (there["id"], "api ops"),
    ]
    audit = operator.get("/journal/audit")["items"]
    assert ("POST /api/execute-migration", wish["host"], "done") in {
        (entry["what"], entry["target"], entry["outcome"]) for entry in audit
    }


def test_who_was_not_let_in_is_in_the_audit(face: Face) -> None:
    operator, stranger = Operator(face.url, TOKEN), Operator(face.url, new_token())
    for _ in range(5):
        assert stranger.post("/freeze", {"reason": "mischief"}).status_code == 401

    def refused() -> Any:
        return [e for e in operator.get("/journal/audit")["items"] if e["outcome"] == "unauthorized"]

    (entry,) = until(refused, seconds=10)
    assert (entry["who"], entry["from_where"], entry["what"]) == ("stranger", "127.0.0.1", "POST /api/freeze")
    assert stranger.token not in str(entry)
    assert operator.get("/freeze")["frozen"] is False


def test_a_frozen_daemon_asks_for_nothing(face: Face, request: pytest.FixtureRequest) -> None:
    operator = Operator(face.url, TOKEN)
    wish = movable(operator, request)
    operator.post("/freeze", {"reason": "audit"})

    answer = operator.post("/execute-migration", wish)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "frozen")
    assert requests.get(f"{face.url}/api/journal", timeout=5).json()["data"]["items"] == []
