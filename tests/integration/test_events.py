"""The event stream of a daemon while it collects, decides and moves."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from api_workflow import Operator
from daemons import Face, quick_settings, running, write_clouds_file
from waiting import until

from spotd.planning.load import load_rules
from spotd.sim import CloudSize, EmbeddedCloud
from spotd.store.store import open_store
from spotd.web.api.auth import hash_of, new_token

TOKEN = new_token()
RULES = """\
mode: dry-run
rules:
  - name: lend
    from: [ondemand]
    to: spot
    when: from.free_hosts > 1000
"""


@dataclass
class Told:
    """What a stream told so far: number, kind and data of each event."""

    events: list[tuple[int, str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[Any]:
        return [data for _, told, data in tuple(self.events) if told == kind]

    def read(self, answer: requests.Response) -> None:
        """Reads until the server closes."""
        number, kind = 0, ""
        try:
            for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif name == "data":
                    self.events.append((number, kind, json.loads(value)))
        except requests.RequestException:
            return


@contextmanager
def listening(face: Face) -> Iterator[Told]:
    told = Told()
    answer = requests.get(f"{face.url}/api/events", stream=True, timeout=30)
    assert answer.status_code == 200
    reader = threading.Thread(target=told.read, args=(answer,), daemon=True)
    reader.start()
    yield told


@pytest.fixture
def face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Face]:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    with EmbeddedCloud(CloudSize(hosts=30, projects=3), seed=5) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        settings = quick_settings(
            cloud,
            api={"tokens": [{"name": "ops", "role": "operator", "hash": hash_of(TOKEN)}]},
            moves={"settle_seconds": 0.1, "proof_gap_seconds": 0.1},
        )
        store = open_store(f"sqlite:///{tmp_path / 'journal.sqlite'}")
        with running(settings, store=store, rules=load_rules(rules)) as started:
            started.settle()
            until(lambda: started.scrape().get("spotd_leader") == 1, seconds=30)
            yield started


@pytest.mark.timeout(180)
def test_a_page_sees_snapshots_steps_and_rules_as_they_come(face: Face) -> None:
    operator = Operator(face.url, TOKEN)
    wish = operator.movable()
    with listening(face) as told:
        until(lambda: told.of("snapshot") and told.of("rules"), seconds=30)

        move = operator.moved(wish, seconds=60)
        until(lambda: any(data.get("state") == "done" for data in told.of("move")), seconds=10)
        snapshots = len(told.of("snapshot"))
        until(lambda: len(told.of("snapshot")) > snapshots, seconds=30)

    *stepped, ended = (data for data in told.of("move") if data["id"] == move["id"])
    journaled = [(step["step"], step["phase"], step["outcome"]) for step in move["steps"]]
    assert [(data["step"], data["phase"], data["outcome"]) for data in stepped] == journaled
    assert {data["host"] for data in stepped} == {wish["host"]}
    assert (ended["host"], ended["state"]) == (wish["host"], "done")
    numbers = [number for number, _, _ in told.events]
    assert numbers == sorted(set(numbers))
    times = [data["timestamp"] for data in told.of("snapshot")]
    assert times == sorted(times)
    assert told.of("snapshot")[-1]["hosts"] == operator.get("/hosts?limit=1")["total"]
    states = {(rule["rule"], rule["condition"], rule["acting"]) for rule in told.of("rules")[-1]["rules"]}
    assert states == {("lend", "false", False)}


def test_a_forced_refresh_tells_its_progress_and_then_its_snapshot(face: Face) -> None:
    with listening(face) as told:
        until(lambda: told.of("snapshot"), seconds=30)
        Operator(face.url, TOKEN).get("/aggregates/H100?force_refresh=true&limit=1")
        until(lambda: any(data["what"] == "finished" for data in told.of("refresh")), seconds=30)
        finished_at = max(number for number, kind, _ in told.events if kind == "refresh")
        until(lambda: any(n > finished_at and k == "snapshot" for n, k, _ in told.events), seconds=30)

    refresh = told.of("refresh")
    assert (refresh[0]["what"], refresh[-1]["what"]) == ("started", "finished")
    assert {data["agent"] for data in refresh} >= {"netbox", "aggregates", "servers", "gpus"}


def test_open_streams_hold_no_stop_and_leave_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedCloud(CloudSize(hosts=4, projects=2), seed=5) as cloud:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(write_clouds_file(cloud, tmp_path)))
        with running(quick_settings(cloud)) as face, ExitStack() as streams:
            for _ in range(3):
                streams.enter_context(listening(face))

    assert [record.getMessage() for record in caplog.records if record.name.startswith("uvicorn")] == []
