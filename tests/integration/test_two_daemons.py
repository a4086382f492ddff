"""Two daemons on one PostgreSQL: one acts, and when it is killed the other does, within 15 s."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Process, environment, process, write_clouds_file
from postgresql import started as started_postgresql
from waiting import until

from spotd.sim import CloudSize, EmbeddedCloud
from spotd.store import open_store
from spotd.store.records import MoveState

TAKEOVER_SECONDS = 15.0
RULES = """\
mode: active
limits: {cooldown: 0s, moves_per_hour: 1000, moves_per_day: 1000}
rules:
  - {name: lend, from: [ondemand], to: spot, gpu_types: [H100], variant: none, when: from.free_hosts > 0}
"""


@pytest.fixture
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=40), seed=1) as made:
        yield made


@pytest.fixture
def database() -> Iterator[str]:
    with started_postgresql() as server:
        yield server.create_database("journal")


def is_leader(started: Process) -> bool:
    return started.face().scrape().get("spotd_leader") == 1


@pytest.mark.thorough
def test_the_other_acts_within_15_seconds_and_no_move_is_done_twice(
    cloud: EmbeddedCloud, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The leader is killed in the middle of a move; the other settles that, then goes on."""
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    empty = [
        name
        for name, host in cloud.operator.fleet().items()
        if host.aggregates == ("H100-n3",) and host.is_empty and host.status == "enabled"
    ]
    environs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        environs.append(
            environment(
                write_clouds_file(cloud, tmp_path),
                SPOTD_WEB__LISTEN_ADDRESS="127.0.0.1:0",
                SPOTD_CACHE__SNAPSHOT_SECONDS="1",
                SPOTD_COLLECTION__STATE_DIRECTORY=str(tmp_path / name),
                SPOTD_JOURNAL__URL=database,
                SPOTD_MOVES__SETTLE_SECONDS="4",
                SPOTD_MOVES__PROOF_GAP_SECONDS="0.2",
            )
        )

    with (
        process("run", "--rules.file", str(rules), environ=environs[0]) as first,
        process("run", "--rules.file", str(rules), environ=environs[1]) as second,
    ):
        for one in (first, second):
            one.face().settle()
        leader = until(lambda: next((one for one in (first, second) if is_leader(one)), None), seconds=20)
        assert leader is not None
        other = second if leader is first else first
        assert not is_leader(other)
        until(lambda: any(cloud.operator.truth(host).status == "disabled" for host in empty), seconds=30)
        leader.send(signal.SIGKILL)
        killed_at = time.monotonic()
        other.event("settling an open move", seconds=TAKEOVER_SECONDS)
        took = time.monotonic() - killed_at
        leader.left()
        with open_store(database) as store:
            until(lambda: store.journal.moves(state=MoveState.DONE), seconds=60)
            until(lambda: not store.journal.open_moves(), seconds=40)
            moves = store.journal.moves(1000)

    assert took < TAKEOVER_SECONDS
    done = Counter(record.order.host for record in moves if record.state is MoveState.DONE)
    assert {1} == set(done.values())
    assert MoveState.STRANDED not in {record.state for record in moves}
    for host in empty:
        truth = cloud.operator.truth(host)
        assert (1, "enabled") == (len(truth.aggregates), truth.status)
    with capsys.disabled():
        ends = dict(Counter(str(record.state) for record in moves))
        sys.stdout.write(f"\nthe other acted after {took:.1f} s; moves: {ends}\n")
