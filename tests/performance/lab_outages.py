"""A part of a real control plane stopped in the middle of a move, and what becomes of the host.

    PYTHONPATH=tests python -m performance.lab_outages LAB_DIRECTORY

LAB_DIRECTORY holds `lib.sh` with `stop NAME`, and `up.sh` that starts what is not running. Needs a cloud
named by SPOTD_TEST_CLOUD whose hosts may be moved about. Each case moves one host, stops a part just before a
write of the move, lets the executor do what it does, starts the part again and settles, as the next cycle
would.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from contract.under_test import CloudUnderTest, real_cloud
from performance.lab_moves import Truth, clear, latest, truth

from spotd.clock import SystemClock
from spotd.clouds.host_calls import HostCalls
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.orders import preview
from spotd.daemon.region import Region, build_region
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.timing import Timing
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing, survey
from spotd.settings import Settings
from spotd.store.records import MoveRecord
from spotd.store.store import Store, open_store

CASES = (
    # Part and write before which it stops; RabbitMQ last, after which some control planes need a restart.
    ("placement", "remove_host"),
    ("placement", "add_host"),
    ("keystone", "remove_host"),
    ("keystone", "add_host"),
    ("nova-api", "remove_host"),
    ("nova-api", "add_host"),
    ("nova-api", "enable_service"),
    ("rabbitmq", "add_host"),
)
WRITE_SECONDS = 20.0
QUIET_SECONDS = 30.0
"""Longer than a write is waited for here, so that none can land after its move was settled."""
SETTLE_TRIES = 60


class _Silent:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


@dataclass
class Stopping:
    """The real cloud, of which a part stops just before one write."""

    calls: HostCalls
    lab: Path
    part: str
    write: str
    stopped: bool = False

    def __getattr__(self, name: str) -> Any:
        if name == self.write and not self.stopped:
            self.stopped = True
            shell(f'. "{self.lab}/lib.sh"; stop {self.part} 5')
        return getattr(self.calls, name)


def shell(command: str) -> None:
    subprocess.run(["bash", "-c", command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start_again(lab: Path, cloud: CloudUnderTest, hosts: int) -> None:
    shell(f'"{lab}/up.sh" {hosts}')
    cloud.tokens.clear()
    cloud.until(lambda: cloud.nova("GET", "/os-services").status_code == 200)


def one(  # noqa: PLR0917
    region: Region, settings: Settings, store: Store, stopping: Stopping, host: str, hosts: int
) -> bool:
    cloud = real_cloud()
    assert cloud is not None
    before = truth(stopping.calls, latest(region), host)
    clock = SystemClock()
    lease = store.lease("lab outages", timedelta(hours=1))
    token = lease.try_acquire()
    assert token is not None
    executor = Executor(
        stopping,
        store.journal,
        grounds=lambda: Grounds(
            rules=Rules(),
            snapshot=latest(region),
            interpretation=interpretation_of(settings),
            standing=Standing(),
        ),
        timing=Timing(
            settle_seconds=2,
            proof_gap_seconds=1,
            readback_seconds=5,
            mirror_seconds=5,
            quiet_seconds=QUIET_SECONDS,
        ),
        clock=clock,
        observer=_Silent(),  # type: ignore[arg-type]
        leaving=threading.Event(),
        leads=lambda token: token == lease.token,
        moved=lambda order: region.moved(order.host, order.origin.id, order.destination.id),
    )
    known = latest(region).hosts[host]
    to = "spot" if known.pool == "ondemand" else "ondemand"
    name = next(
        c.aggregate.name
        for c in latest(region).aggregates
        if c.pool == to and c.gpu_type == known.gpu_type and c.variant is None
    )
    around = survey(Rules(), latest(region), (), clock.now(), Standing())
    order = preview(host, name, around, asked_by="cli lab", reason="outage").order
    assert order is not None
    record = executor.run(store.journal.begin(order, token=token, now=clock.now()), token=token)
    during = f"{record.state}: {record.sentence or 'open'}"
    start_again(stopping.lab, cloud, hosts)
    started = time.monotonic()
    record = settled(executor, store, record, token)
    return told(stopping, host, before, truth(stopping.calls, latest(region), host), during, record, started)


def settled(executor: Executor, store: Store, record: MoveRecord, token: int) -> MoveRecord:
    """What the next cycles do."""
    for _ in range(SETTLE_TRIES):
        if not record.is_open:
            return record
        record = executor.settle(store.journal.move(record.id) or record, token=token)
        time.sleep(2.0 if record.is_open else 0.0)
    return record


def told(  # noqa: PLR0917
    stopping: Stopping,
    host: str,
    before: Truth,
    after: Truth,
    during: str,
    record: MoveRecord,
    started: float,
) -> bool:
    good = len(after.pools) == 1 and after.mirrored == after.pools and after.status == before.status
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"{'good' if good else 'BAD '} {stopping.part:9} before {stopping.write:14} {host}: {during[:110]}\n"
        f"       then {record.state} after {seconds:.0f} s: {', '.join(after.pools)}, mirror "
        f"{', '.join(after.mirrored)}, service {after.status}\n"
    )
    sys.stdout.flush()
    return good


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lab", type=Path)
    parser.add_argument("--hosts", type=int, default=24, help="What up.sh is given.")
    parser.add_argument("--parts", nargs="*", help="Only these parts.")
    chosen = parser.parse_args()
    cloud = real_cloud()
    if cloud is None:
        sys.exit("no real cloud: set SPOTD_TEST_CLOUD")
    settings = Settings.model_validate(
        {"openstack": {"cloud": os.environ["SPOTD_TEST_CLOUD"], "request_timeout_seconds": 10}}
    )
    all_good = True
    for number, (part, write) in enumerate(CASES):
        if chosen.parts and part not in chosen.parts:
            continue
        region = build_region(
            settings,
            clock=SystemClock(),
            recorder=_Silent(),  # type: ignore[arg-type]
            observer=lambda *_: None,
            wait_for_walk=True,
        )
        region.collection.collect()
        hosts = sorted(
            name
            for name, found in latest(region).hosts.items()
            if found.pool in ("ondemand", "spot") and found.out_of_stock is None
        )
        host = hosts[number % len(hosts)]
        clear(cloud, [host])
        region.collection.collect()
        with (
            tempfile.TemporaryDirectory() as folder,
            open_store(f"sqlite:///{folder}/journal.sqlite") as store,
        ):
            calls = HostCalls(region.session, write_timeout_seconds=WRITE_SECONDS)
            stopping = Stopping(calls, chosen.lab.absolute(), part, write)
            all_good &= one(region, settings, store, stopping, host, chosen.hosts)
        region.close()
    sys.exit(0 if all_good else 1)


if __name__ == "__main__":
    main()
