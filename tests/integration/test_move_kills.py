"""SIGKILL before and after every write of every step, then a restart that settles what was left open."""

import json
import os
import queue
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from spotd.sim import CloudSize, EmbeddedCloud

TESTS = Path(__file__).parents[1]
ORIGIN, DESTINATION = "H100-n3", "H100-n3-spot"
TIMING = {
    "settle_seconds": 0.05,
    "proof_gap_seconds": 0.02,
    "poll_seconds": 0.02,
    "readback_seconds": 0.2,
    "mirror_seconds": 0.2,
    "quiet_seconds": 0.3,
}
LEAST_WRITES = 24
DRIVERS = 2
SETTLED = ("done", "undone")


class Driver:
    """A process that forks one for each wish, and the one host that it works on."""

    def __init__(self, cloud: EmbeddedCloud, directory: Path, host: str) -> None:
        self.host = host
        self._cloud = cloud
        self._directory = directory
        self._cases = 0
        path = directory / "clouds.yaml"
        path.write_text(yaml.safe_dump(cloud.clouds_yaml()))
        environ = {"OS_CLIENT_CONFIG_FILE": str(path), "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "move_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(directory / f"{host}.log").open("w"),
            text=True,
            env={**os.environ, **environ},
        )

    def wish(self, journal: str, **more: Any) -> dict[str, Any]:
        """Carries it out, and what came of it."""
        settings = {"openstack": {"cloud": "embedded"}, "log": {"level": "error"}}
        document = {"journal": journal, "settings": settings, "timing": TIMING, **more}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def move(self, **kill: Any) -> tuple[dict[str, Any], str]:
        """A move from the origin, killed or not; its answer and its journal."""
        self._cases += 1
        journal = f"sqlite:///{self._directory}/{self.host}-{self._cases}.sqlite"
        return self.wish(journal, order=self._order(), **kill), journal

    def _order(self) -> dict[str, Any]:
        places = {}
        for role, name, pool in (("origin", ORIGIN, "ondemand"), ("destination", DESTINATION, "spot")):
            found = self._cloud.world.aggregate(name)
            places[role] = {"id": found.id, "uuid": found.uuid, "name": name, "pool": pool}
        return {"host": self.host, "gpu_type": "H100", **places}

    def put_back(self) -> None:
        """The host is in its origin again and open."""
        [pool] = self._cloud.world.aggregates_of(self.host)
        if pool != ORIGIN:
            self._cloud.operator.move(self.host, pool, ORIGIN)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(CloudSize(hosts=24, servers=0, netbox=False), seed=3) as started:
        yield started


@pytest.fixture
def drivers(cloud: EmbeddedCloud, tmp_path: Path) -> Iterator[list[Driver]]:
    hosts = [name for name, truth in cloud.operator.fleet().items() if may_move(truth)]
    made = [Driver(cloud, tmp_path, host) for host in hosts[:DRIVERS]]
    yield made
    for driver in made:
        driver.close()


def may_move(truth: Any) -> bool:
    return truth.aggregates == (ORIGIN,) and truth.status == "enabled" and truth.is_up and truth.is_empty


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.parametrize("zone", [None, "az-1"], ids=["leave-first", "join-first"])
def test_leaves_every_host_in_one_pool_or_closed_and_told_of(
    zone: str | None, cloud: EmbeddedCloud, drivers: list[Driver], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every write to the cloud and to the journal of a whole move."""
    for name in (ORIGIN, DESTINATION):
        cloud.world.aggregates.set_metadata(
            cloud.world.aggregate(name).id, {"availability_zone": zone}, cloud.world.now()
        )
    whole, _ = drivers[0].move()
    assert (0, ["done"]) == (whole["status"], whole["states"])
    drivers[0].put_back()
    names = whole["writes"]
    assert len(names) >= LEAST_WRITES
    cases = [(number, when) for number in range(1, len(names) + 1) for when in ("before", "after")]
    idle: queue.Queue[Driver] = queue.Queue()
    for driver in drivers:
        idle.put(driver)

    def one(case: tuple[int, str]) -> str:
        driver = idle.get()
        try:
            return killed_and_settled(cloud, driver, *case)
        finally:
            idle.put(driver)

    with ThreadPoolExecutor(len(drivers)) as pool:
        ends = list(pool.map(one, cases))

    with capsys.disabled():
        sys.stdout.write(f"\n{len(cases)} kills, {dict(Counter(ends))}\n")
        for (number, when), end in zip(cases, ends, strict=True):
            sys.stdout.write(f"  {number:>2} {when:<7} {names[number - 1]:<16} {end}\n")
    assert {"done", "undone", "never begun"} == set(ends)


def killed_and_settled(cloud: EmbeddedCloud, driver: Driver, number: int, when: str) -> str:
    """How the journal has it in the end; on the way and at the end the host is as promised."""
    killed, journal = driver.move(kill_at=number, when=when)
    assert -signal.SIGKILL == killed["status"]
    truth = cloud.operator.truth(driver.host)
    assert len(truth.aggregates) == 1 or truth.status == "disabled"

    settled = driver.wish(journal)

    assert 0 == settled["status"]
    truth = cloud.operator.truth(driver.host)
    assert len(truth.aggregates) == 1
    assert truth.agrees
    assert "enabled" == truth.status
    driver.put_back()
    if not settled["states"]:
        assert (ORIGIN,) == truth.aggregates
        return "never begun"
    [state] = settled["states"]
    assert state in SETTLED
    assert ((DESTINATION,) if state == "done" else (ORIGIN,)) == truth.aggregates
    return str(state)
