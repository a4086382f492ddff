"""The journal goes under a daemon that leads: it stops, says so, and another never acts beside it."""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Face, Process, environment, process, write_clouds_file
from postgresql import started as started_postgresql
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud

RULES = """\
mode: active
limits: {cooldown: 0s, moves_per_hour: 1000, moves_per_day: 1000}
rules:
  - {name: lend, from: [ondemand], to: spot, gpu_types: [H100], variant: none, when: from.free_hosts > 0}
"""
LEASE_SECONDS = 10.0
RENEWAL_SECONDS = 3.0


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=40), seed=1) as made:
        yield made


def environ(cloud: EmbeddedCloud, tmp_path: Path, **more: str) -> dict[str, str]:
    (tmp_path / "state").mkdir(mode=0o700, exist_ok=True)
    (tmp_path / "rules.yml").write_text(RULES)
    return environment(
        write_clouds_file(cloud, tmp_path),
        SPOTD_WEB__LISTEN_ADDRESS="127.0.0.1:0",
        SPOTD_CACHE__SNAPSHOT_SECONDS="1",
        SPOTD_COLLECTION__STATE_DIRECTORY=str(tmp_path / "state"),
        SPOTD_RULES__FILE=str(tmp_path / "rules.yml"),
        SPOTD_MOVES__SETTLE_SECONDS="8",
        SPOTD_MOVES__PROOF_GAP_SECONDS="0.2",
        **more,
    )


def told(face: Face) -> tuple[float | None, float | None]:
    """Whether it leads, and whether its journal is up."""
    scraped = face.scrape()
    return scraped.get("spotd_leader"), scraped.get("spotd_journal_up")


def in_a_move(started: Process, cloud: EmbeddedCloud) -> Face:
    """Its face, once it has closed a host for a move."""
    face = started.face()
    face.settle()
    until(lambda: any(map(is_closed, cloud.operator.fleet().values())), seconds=40)
    return face


def is_closed(host: object) -> bool:
    return str(getattr(host, "disabled_reason", "") or "").startswith("spotd:")


def writes(cloud: EmbeddedCloud) -> int:
    """Changes of aggregates and services that the cloud was asked for."""
    return sum(
        call.method in ("POST", "PUT") and (call.path.endswith("/action") or "/os-services/" in call.path)
        for call in cloud.requests.snapshot()
    )


def test_a_removed_journal_stops_the_leader_before_another_daemon_has_one(
    cloud: EmbeddedCloud, tmp_path: Path
) -> None:
    """The first is in the middle of moves; the second finds no file and makes one."""
    here = environ(cloud, tmp_path)
    with process("run", environ=here) as first:
        face = in_a_move(first, cloud)
        assert told(face) == (1, 1)
        sent = writes(cloud)
        for file in (tmp_path / "state").glob("journal.sqlite*"):
            file.unlink()

        assert told(face) == (0, 0)
        lost = first.event("journal lost", seconds=RENEWAL_SECONDS + 1)
        assert "was removed or renamed while spotd had it open" in lost["reason"]
        time.sleep(9)  # longer than a move waits before its next write
        assert writes(cloud) == sent
        first.event("stopped acting")

        with process("run", environ=here) as second:
            its = second.face()
            until(lambda: told(its) == (1, 1), seconds=30)
            ends_at = time.monotonic() + 6
            while time.monotonic() < ends_at:
                assert told(face) == (0, 0)
                time.sleep(0.2)
        with sqlite3.connect(tmp_path / "state" / "journal.sqlite") as journal:
            assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert journal.execute("SELECT token FROM leases").fetchone() == (1,)
        journal.close()


def test_a_journal_on_a_server_that_stands_still_is_down_within_a_lease(
    cloud: EmbeddedCloud, tmp_path: Path
) -> None:
    with started_postgresql() as server:
        here = environ(cloud, tmp_path, SPOTD_JOURNAL__URL=server.create_database("journal"))
        with process("run", environ=here) as started:
            face = in_a_move(started, cloud)
            assert told(face) == (1, 1)
            with server.standing_still():
                stopped_at = time.monotonic()
                until(lambda: told(face)[1] == 0, seconds=LEASE_SECONDS)
                down = time.monotonic() - stopped_at
                until(lambda: told(face)[0] == 0, seconds=LEASE_SECONDS)
                sent = writes(cloud)
                started.event("journal does not answer", seconds=LEASE_SECONDS)
                time.sleep(5)
                assert writes(cloud) == sent
            until(lambda: told(face) == (1, 1), seconds=30)
            started.event("journal answers again")
            started.event("settling an open move", seconds=30)

    assert down < 7.0
