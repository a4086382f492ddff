"""The old workflow by curl against `spotd run` on a real Nova; each step is read back in Nova.

One empty host moves to another pool of its GPU type and back; whatever happens, it is brought back.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from contract.under_test import WHY_NO_CLOUD, CloudUnderTest, real_cloud, unique
from daemons import Face, process
from waiting import until

from spotd.web.api.auth import hash_of, new_token

pytestmark = [pytest.mark.lab, pytest.mark.thorough, pytest.mark.timeout(900)]
MOVE_SECONDS = 240.0


@dataclass(frozen=True)
class Curl:
    """Asks the daemon's API as an operator's script does."""

    url: str
    token: str

    def __call__(self, path: str, body: Mapping[str, Any] | None = None, *headers: str) -> tuple[int, Any]:
        """Status and data of the answer; the error in place of the data."""
        command = ["curl", "-sS", "--max-time", "120", "-w", "\n%{http_code}", f"{self.url}/api{path}"]
        for header in (f"Authorization: Bearer {self.token}", *headers):
            command += ["-H", header]
        if body is not None:
            command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        text, _, status = done.stdout.rpartition("\n")
        answer = json.loads(text)
        return int(status), answer["data"] if answer["success"] else answer["error"]

    def data(self, path: str, body: Mapping[str, Any] | None = None, *headers: str) -> Any:
        """The data of an answer that must be a good one."""
        status, data = self(path, body, *headers)
        assert status in {200, 202}, data
        return data

    def ended(self, move_id: str) -> Any:
        """The move, once it neither waits nor runs."""

        def look() -> Any:
            move = self.data(f"/moves/{move_id}")
            return move if move["state"] not in {"asked", "running"} else None

        return until(look, seconds=MOVE_SECONDS)

    def wish(self) -> dict[str, str]:
        """An empty host that the guards let go, and where to."""
        for host in self.data("/hosts?limit=1000&sort=servers")["items"]:
            if host["servers"] != 0 or host["out_of_stock"] is not None:
                continue
            for target in self.data("/get-target-aggregate", {"host": host["name"]})["targets"]:
                wish = {"host": host["name"], "target_aggregate": target["name"]}
                if self.data("/preview-migration", wish)["allowed"]:
                    return wish
        raise AssertionError("this cloud has no empty host that may move to another pool of its GPU type")


@dataclass(frozen=True)
class Place:
    """Where Nova and Placement have a host, and whether servers may land on it."""

    aggregates: frozenset[str]
    mirrored: frozenset[str]
    status: str
    disabled_reason: str | None
    servers: int


def place(cloud: CloudUnderTest, host: str) -> Place:
    aggregates = cloud.nova("GET", "/os-aggregates").json()["aggregates"]
    names = {found["uuid"]: found["name"] for found in aggregates}
    path = f"/resource_providers/{cloud.provider(host)['uuid']}/aggregates"
    mirror = cloud.placement("GET", path).json()["aggregates"]
    service = cloud.service(host)
    servers = cloud.nova("GET", f"/servers/detail?all_tenants=1&host={host}").json()["servers"]
    return Place(
        aggregates=frozenset(found["name"] for found in aggregates if host in found["hosts"]),
        mirrored=frozenset(names.get(found, found) for found in mirror),
        status=service["status"],
        disabled_reason=service["disabled_reason"],
        servers=len(servers),
    )


@pytest.fixture
def cloud() -> CloudUnderTest:
    found = real_cloud()
    if found is None:
        pytest.skip(WHY_NO_CLOUD)
    return found


@pytest.fixture
def curl(cloud: CloudUnderTest, tmp_path: Path) -> Iterator[Curl]:
    assert shutil.which("curl"), "needs curl on the PATH"
    token = new_token()
    settings = tmp_path / "spotd.yml"
    groups = {
        "openstack": {"cloud": cloud.name},
        "web": {"listen_address": "127.0.0.1:0"},
        "cache": {"snapshot_seconds": 5},
        "moves": {"settle_seconds": 12, "proof_gap_seconds": 2},
        "api": {"tokens": [{"name": "ops", "role": "operator", "hash": hash_of(token)}]},
        "collection": {"state_directory": str(tmp_path / "state")},
        "log": {"format": "json"},
    }
    settings.write_text(json.dumps(groups))  # JSON is YAML
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SPOTD_")}
    with process("run", "--config.file", str(settings), environ=environ) as running:
        face: Face = running.face()
        until(face.is_ready, seconds=90)
        until(lambda: face.scrape().get("spotd_fleet_servers") is not None, seconds=90)
        until(lambda: face.scrape().get("spotd_leader") == 1, seconds=30)
        yield Curl(face.url, token)


def test_list_preview_execute_verify_log_and_back(cloud: CloudUnderTest, curl: Curl) -> None:
    """List, preview, execute, verify, log."""
    wish = curl.wish()
    host, destination = wish["host"], wish["target_aggregate"]
    before = place(cloud, host)
    preview = curl.data("/preview-migration", wish)
    origin = preview["origin"]["name"]
    assert origin in before.aggregates
    assert f"openstack aggregate add host {destination} {host}" in [s["command"] for s in preview["steps"]]
    key = f"Idempotency-Key: {unique('there')}"
    try:
        first, again = (curl.data("/execute-migration", wish, key)["id"] for _ in range(2))
        there = curl.ended(first)
        after = place(cloud, host)
        seen = curl.data(f"/aggregates/{there['gpu_type']}?force_refresh=true&limit=1")["aggregates"]
    finally:
        back = brought_back(cloud, curl, host, origin)

    assert first == again
    assert (there["state"], there["sentence"]) == ("done", there["sentence"])
    assert [s["step"] for s in there["steps"] if s["phase"] == "do"][-3:] == ["join", "verify", "release"]
    moved = (before.aggregates - {origin}) | {destination}
    assert after == Place(
        aggregates=moved,
        mirrored=moved,
        status=before.status,
        disabled_reason=before.disabled_reason,
        servers=0,
    )
    assert {found["name"] for found in seen if host in found["hosts"]} == {destination}
    assert back["state"] == "done"
    assert place(cloud, host) == before
    journal = curl.data(f"/journal?host={host}")["items"]
    assert [(move["id"], move["asked_by"]) for move in journal] == [
        (back["id"], "api ops"),
        (first, "api ops"),
    ]
    audit = [(a["who"], a["what"], a["target"], a["outcome"]) for a in curl.data("/journal/audit")["items"]]
    assert audit.count(("token ops", "POST /api/execute-migration", host, "done")) == 3
    status, error = Curl(curl.url, new_token())("/execute-migration", wish)
    assert (status, error["code"]) == (401, "unauthorized")
    newest = until(lambda: refused(curl), seconds=10)
    assert (newest["who"], newest["from_where"]) == ("stranger", "127.0.0.1")


def refused(curl: Curl) -> Any:
    """The audit's last word, once it is of a write that was not let in."""
    newest = curl.data("/journal/audit?limit=1")["items"][0]
    return newest if newest["outcome"] == "unauthorized" else None


def brought_back(cloud: CloudUnderTest, curl: Curl, host: str, origin: str) -> Any:
    """The host in its old pool again, by the API; fails loudly where it is not."""
    here = place(cloud, host)
    if origin in here.aggregates:
        return {"state": "never left", "id": None}
    move = curl.ended(curl.data("/execute-migration", {"host": host, "target_aggregate": origin})["id"])
    assert move["state"] == "done", f"{host} must be brought back to {origin} by hand: {move['sentence']}"
    return move
