"""Moves on a real Nova and Placement, there and back, while servers are booted and deleted around them.

    PYTHONPATH=tests python -m performance.lab_moves --moves 200 --hosts 20

Needs a cloud named by SPOTD_TEST_CLOUD whose hosts may be moved about. Servers on the chosen hosts are
deleted first. Afterwards every host must be in exactly one pool, the mirror must agree, and every service
must be as it was.
"""

import argparse
import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from contract.under_test import CloudUnderTest, real_cloud, unique

from spotd.clock import SystemClock
from spotd.clouds.host_calls import HostCalls
from spotd.daemon.interpretation import interpretation_of
from spotd.daemon.orders import preview
from spotd.daemon.region import Region, build_region
from spotd.fleet.snapshot import FleetSnapshot
from spotd.moves.executor import Executor
from spotd.moves.guarding import Grounds
from spotd.moves.timing import Timing
from spotd.planning.rules import Rules
from spotd.planning.surroundings import Standing, survey
from spotd.settings import Settings
from spotd.store.records import MoveRecord
from spotd.store.store import open_store

AT_ONCE = 4
ORDERS_A_MOVE = 4  # so many tries for each move that shall be done, then it gives up


class _Silent:
    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_keywords: None


@dataclass
class Witness:
    """Looks at the host in the moment in which it leaves its pool: nobody may be on it."""

    calls: HostCalls
    seconds: list[float] = field(default_factory=list)
    occupied: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.calls, name)

    def remove_host(self, aggregate_id: int, host: str) -> None:
        tree = self.calls.provider_tree(host)
        if self.calls.servers_on(host) or self.calls.consumers([provider.uuid for provider in tree]):
            self.occupied.append(host)
        self.calls.remove_host(aggregate_id, host)


@dataclass
class Truth:
    """What the cloud says of a host."""

    pools: tuple[str, ...]
    status: str
    mirrored: tuple[str, ...]


def truth(calls: HostCalls, snapshot: FleetSnapshot, host: str) -> Truth:
    pools = {c.aggregate.uuid: c.aggregate.name for c in snapshot.aggregates if c.pool is not None}
    mirror = calls.mirror(calls.provider_tree(host)[0].uuid)
    return Truth(
        pools=tuple(a.name for a in calls.aggregates() if host in a.hosts and a.uuid in pools),
        status=calls.compute_service(host).status,
        mirrored=tuple(sorted(name for uuid, name in pools.items() if uuid in mirror)),
    )


def clear(cloud: CloudUnderTest, hosts: list[str]) -> None:
    """Deletes every server on the hosts and waits until they are gone."""
    for host in hosts:
        listed = cloud.nova("GET", f"/servers/detail?all_tenants=1&host={host}").json()["servers"]
        for server in listed:
            cloud.nova("DELETE", f"/servers/{server['id']}")
        for server in listed:
            cloud.until(lambda one=server["id"]: cloud.nova("GET", f"/servers/{one}").status_code == 404)


def churn(cloud: CloudUnderTest, hosts: list[str], over: threading.Event, made: list[str]) -> None:
    """Boots servers where the scheduler or a pin puts them, and deletes them again."""
    chance = random.Random(1)
    mine: list[str] = []
    while not over.wait(chance.uniform(1.0, 3.0)):
        pin = {"host": chance.choice(hosts)} if chance.random() < 0.3 else {}
        answer = cloud.nova("POST", "/servers", "2.74", json=cloud.boot_body(unique("churn"), **pin))
        if answer.status_code == 202:
            mine.append(str(answer.json()["server"]["id"]))
            made.append(mine[-1])
        if len(mine) > 6:
            cloud.nova("DELETE", f"/servers/{mine.pop(0)}")
    for server_id in mine:
        cloud.nova("DELETE", f"/servers/{server_id}")


def run(moves: int, count: int, settle_seconds: float) -> int:
    cloud = real_cloud()
    if cloud is None:
        sys.exit("no real cloud: set SPOTD_TEST_CLOUD")
    settings, clock = Settings.model_validate({"openstack": {"cloud": cloud.name}}), SystemClock()
    region = build_region(
        settings,
        clock=clock,
        recorder=_Silent(),
        observer=lambda *_: None,
        wait_for_walk=True,  # type: ignore[arg-type]
    )
    region.collection.collect()
    chosen = sorted(
        host.name
        for host in latest(region).hosts.values()
        if host.pool in ("ondemand", "spot") and host.out_of_stock is None and "synth" not in host.name
    )[:count]
    clear(cloud, chosen)
    before = {host: truth(HostCalls(region.session), latest(region), host) for host in chosen}
    witness = Witness(HostCalls(region.session))
    over, made = threading.Event(), []  # type: ignore[var-annotated]
    noise = threading.Thread(target=churn, args=(cloud, chosen, over, made))
    noise.start()
    started = time.monotonic()
    try:
        ended = carry_out(region, settings, witness, chosen, moves, settle_seconds)
    finally:
        over.set()
        noise.join()
        clear(cloud, chosen)
    wall = time.monotonic() - started
    after = {host: truth(witness.calls, latest(region), host) for host in chosen}
    region.close()
    status = report(ended, before, after, witness, made, wall, settle_seconds)
    done = sum(one.state == "done" for one in ended)
    if done < moves:
        sys.stdout.write(f"only {done} moves done of {moves}\n")
        return 1
    return status


def latest(region: Region) -> FleetSnapshot:
    snapshot = region.collection.latest()
    assert snapshot is not None
    return snapshot


def carry_out(  # noqa: PLR0917
    region: Region, settings: Settings, witness: Witness, hosts: list[str], moves: int, settle_seconds: float
) -> list[MoveRecord]:
    """So many moves done, to the other pool of the GPU type and back, four at a time.

    A server that lands on a host ends a move undone or refused: such a move is tried again in its turn.
    """
    clock = SystemClock()
    ended: list[MoveRecord] = []
    turns, lock = iter(range(moves * ORDERS_A_MOVE)), threading.Lock()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = stack.enter_context(open_store(f"sqlite:///{Path(folder) / 'journal.sqlite'}"))
        lease = store.lease("lab moves", timedelta(hours=1))
        token = lease.try_acquire()
        assert token is not None

        def grounds() -> Grounds:
            return Grounds(
                rules=Rules(),
                snapshot=latest(region),
                interpretation=interpretation_of(settings),
                standing=Standing(),
            )

        executor = Executor(
            witness,
            store.journal,
            grounds=grounds,
            timing=Timing(settle_seconds=settle_seconds, proof_gap_seconds=1.0, poll_seconds=0.2),
            clock=clock,
            observer=_Silent(),  # type: ignore[arg-type]
            leaving=threading.Event(),
            leads=lambda token: token == lease.token,
            moved=lambda order: region.moved(order.host, order.origin.id, order.destination.id),
        )

        def worker(mine: list[str]) -> None:
            while True:
                for host in mine:
                    with lock:
                        turn = next(turns, None)
                        if turn is None or sum(one.state == "done" for one in ended) >= moves:
                            return
                        if turn % 8 == 0:
                            region.collection.collect()
                    around = survey(Rules(), latest(region), (), clock.now(), Standing())
                    known = latest(region).hosts[host]
                    wanted = "spot" if known.pool == "ondemand" else "ondemand"
                    to = next(
                        c.aggregate.name
                        for c in latest(region).aggregates
                        if c.pool == wanted and c.gpu_type == known.gpu_type and c.variant is None
                    )
                    order = preview(host, to, around, asked_by="cli lab", reason="there and back").order
                    if order is None:
                        continue
                    record = store.journal.begin(order, token=token, now=clock.now())
                    began = time.monotonic()
                    record = executor.run(record, token=token)
                    witness.seconds.append(time.monotonic() - began)
                    while record.is_open and record.state != "stranded":
                        record = executor.settle(store.journal.move(record.id) or record, token=token)
                    ended.append(store.journal.move(record.id) or record)

        with ThreadPoolExecutor(AT_ONCE) as threads:
            for future in [threads.submit(worker, hosts[place::AT_ONCE]) for place in range(AT_ONCE)]:
                future.result()
    return ended


def report(  # noqa: C901, PLR0917
    ended: list[MoveRecord],
    before: dict[str, Truth],
    after: dict[str, Truth],
    witness: Witness,
    made: list[str],
    wall: float,
    settle_seconds: float,
) -> int:
    outcomes: dict[str, int] = {}
    for record in ended:
        outcomes[str(record.state)] = outcomes.get(str(record.state), 0) + 1
    own = [
        (record.finished_at - record.started_at).total_seconds() - settle_seconds
        for record in ended
        if record.state == "done" and record.finished_at and record.started_at
    ]
    sys.stdout.write(
        f"{len(ended)} orders for {len(before)} hosts in {wall:.0f} s beside {len(made)} boots: {outcomes}\n"
    )
    if own:
        sys.stdout.write(
            f"own seconds of a done move: median {statistics.median(own):.2f}, longest {max(own):.2f}\n"
        )
    steps: dict[str, list[float]] = {}
    for record in ended:
        for step in record.steps:
            if step.ended_at is not None and record.state == "done":
                steps.setdefault(step.step, []).append((step.ended_at - step.began_at).total_seconds())
    for name, seconds in steps.items():
        sys.stdout.write(f"  {name}: median {statistics.median(seconds):.2f}, longest {max(seconds):.2f}\n")
    for record in ended:
        if record.state != "done":
            sys.stdout.write(f"  {record.order.host}: {record.state}: {record.sentence}\n")
    faults = [f"{host} left with somebody on it" for host in witness.occupied]
    for host, now in after.items():
        if len(now.pools) != 1 or now.mirrored != now.pools or now.status != before[host].status:
            faults.append(f"{host}: {before[host]} -> {now}")
    good = "every host in one pool, mirrored, its service as before, empty when it left"
    sys.stdout.write("\n".join(faults or [good]) + "\n")
    return 1 if faults else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moves", type=int, default=200)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--settle-seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    sys.exit(run(chosen.moves, chosen.hosts, chosen.settle_seconds))


if __name__ == "__main__":
    main()
