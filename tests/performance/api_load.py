"""The API under load beside running collections: throughput, latency, what scrapes notice, what streams cost.

`python -m performance.api_load --hosts 1000` (with `tests` on PYTHONPATH) prints a table; everything is on
loopback, in three processes: the cloud, the daemon, and this one.
"""

import argparse
import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from performance.meter import MEGABYTE
from performance.served_cloud import ROOT, CloudAddress, served_cloud
from rich.console import Console
from rich.table import Table

READS = ("/api/hosts?limit=100", "/api/gpu-types", "/api/aggregates/H100", "/api/cache-stats")
START_SECONDS = 120.0
SNAPSHOT_SECONDS = 2.0
"""So short that a collection runs nearly all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one read took from so many clients at once."""

    path: str
    answers: int
    failures: int
    seconds: float
    p50: float
    p99: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


@contextmanager
def running_daemon(cloud: CloudAddress, **environment: str) -> Iterator[str]:
    """`spotd run` in a process of its own, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "OS_CLIENT_CONFIG_FILE": cloud.clouds_file,
        "SPOTD_OPENSTACK__CLOUD": cloud.cloud,
        "SPOTD_NETBOX__URL": cloud.netbox_url,
        "SPOTD_NETBOX__TOKEN": cloud.netbox_token,
        "SPOTD_WEB__LISTEN_ADDRESS": listen,
        "SPOTD_CACHE__SNAPSHOT_SECONDS": str(SNAPSHOT_SECONDS),
        "SPOTD_API__READS_PER_MINUTE": "1000000",
        "SPOTD_API__EVENT_STREAMS_PER_CLIENT": "600",
        "SPOTD_WEB__CONNECTIONS_PER_ADDRESS": "900",
        **environment,
    }
    command = [sys.executable, "-m", "spotd", "run", "--log.level", "error"]
    with subprocess.Popen(command, env=os.environ | settings, cwd=ROOT) as process:
        try:
            _wait_until_ready(f"http://{listen}")
            yield f"http://{listen}"
        finally:
            process.terminate()


def _wait_until_ready(url: str) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        try:
            if "spotd_fleet_servers" in requests.get(f"{url}/metrics", timeout=5).text:
                return
        except requests.RequestException:
            pass
        time.sleep(0.2)
    raise RuntimeError("the daemon knows no servers in time")


def resident_bytes(url: str) -> float:
    """What the daemon holds, by its own metrics."""
    found = re.search(
        r"^process_resident_memory_bytes (\S+)$",
        requests.get(f"{url}/metrics", timeout=10).text,
        re.MULTILINE,
    )
    assert found is not None
    return float(found[1])


def collections(url: str) -> float:
    found = re.search(
        r"^spotd_collections_total (\S+)$", requests.get(f"{url}/metrics", timeout=10).text, re.MULTILINE
    )
    return float(found[1]) if found else 0.0


def load(url: str, path: str, *, clients: int, seconds: float, per_second: float | None = None) -> Load:
    """So many clients, each asking again as soon as it has its answer, or all together so often a second."""
    pause = clients / per_second if per_second else 0.0
    times, failures = asyncio.run(_load(url, path, clients, seconds, pause))
    times.sort()
    return Load(
        path=path,
        answers=len(times),
        failures=failures,
        seconds=seconds,
        p50=statistics.median(times),
        p99=times[int(len(times) * 0.99)],
    )


async def _load(url: str, path: str, clients: int, seconds: float, pause: float) -> tuple[list[float], int]:
    host, port = url.removeprefix("http://").split(":")
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    times: list[float] = []
    failures = 0
    ends_at = time.monotonic() + seconds

    async def client() -> None:
        nonlocal failures
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**22)
        while time.monotonic() < ends_at:
            started = time.monotonic()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            assert length is not None
            await reader.readexactly(int(length[1]))
            if b" 200 " in head[:20]:
                times.append(time.monotonic() - started)
            else:
                failures += 1
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - started)))
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return times, failures


def scrapes(url: str, count: int) -> list[float]:
    """How long each of so many scrapes took, one each 50 ms."""
    times = []
    with requests.Session() as session:
        for _ in range(count):
            started = time.monotonic()
            session.get(f"{url}/metrics", timeout=10).raise_for_status()
            times.append(time.monotonic() - started)
            time.sleep(0.05)
    return sorted(times)


def scrapes_beside_load(url: str, count: int, *, clients: int, per_second: float | None) -> list[float]:
    """The same while another process asks the API so often a second, or as fast as it can."""
    command = [sys.executable, "-m", "performance.api_load", "--only-load", url, "--clients", str(clients)]
    command += ["--per-second", str(per_second or 0)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        time.sleep(1.5)
        try:
            return scrapes(url, count)
        finally:
            process.terminate()


@contextmanager
def streams(url: str, count: int) -> Iterator[list[socket.socket]]:
    """So many open event streams."""
    host, port = url.removeprefix("http://").split(":")
    opened = []
    try:
        for _ in range(count):
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            connection.close()


def main() -> None:
    """Measures and prints."""
    arguments = _arguments()
    if arguments.only_load:
        rate = arguments.per_second
        load(arguments.only_load, READS[0], clients=arguments.clients, seconds=600, per_second=rate)
        return
    console = Console()
    with (
        served_cloud(arguments.hosts, changes_per_second=5.0) as cloud,
        running_daemon(cloud) as url,
    ):
        _print_loads(console, url, arguments)
        _print_scrapes(console, url, arguments)
        before = resident_bytes(url)
        with streams(url, arguments.streams):
            time.sleep(20)
            after = resident_bytes(url)
        console.print(
            f"{arguments.streams} event streams, none of them read, 20 s: "
            f"{before / MEGABYTE:.0f} MB before, {after / MEGABYTE:.0f} MB with them"
        )


def _print_scrapes(console: Console, url: str, arguments: argparse.Namespace) -> None:
    """Alone, beside all that clients can ask, beside what one may by default, and alone again."""
    asked = {"as fast as they can": None, f"{arguments.per_second:g} a second": arguments.per_second}
    alone = scrapes(url, 60)
    beside = {
        words: scrapes_beside_load(url, 60, clients=arguments.clients, per_second=rate)
        for words, rate in asked.items()
    }
    alone = sorted([*alone, *scrapes(url, 60)])
    console.print(f"/metrics alone: median {statistics.median(alone) * 1000:.1f} ms")
    for words, seconds in beside.items():
        median = statistics.median(seconds)
        console.print(
            f"/metrics beside {arguments.clients} clients that ask {words}: median {median * 1000:.1f} ms "
            f"(ratio {median / statistics.median(alone):.1f}), slowest {seconds[-1] * 1000:.0f} ms"
        )


def _print_loads(console: Console, url: str, arguments: argparse.Namespace) -> None:
    table = Table(title=f"{arguments.clients} clients, {arguments.hosts} hosts, a collection each 2 s")
    for name in ("read", "answers/s", "p50 ms", "p99 ms", "not 200", "collections"):
        table.add_column(name, justify="right")
    for path in READS:
        begun = collections(url)
        found = load(url, path, clients=arguments.clients, seconds=arguments.seconds)
        table.add_row(
            path,
            f"{found.per_second:.0f}",
            f"{found.p50 * 1000:.1f}",
            f"{found.p99 * 1000:.1f}",
            str(found.failures),
            f"{collections(url) - begun:.0f}",
        )
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-second", type=float, default=100.0, help="the paced load; a client's limit")
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--only-load", metavar="URL", help="ask this URL until ended, for another process")
    return parser.parse_args()


if __name__ == "__main__":
    main()
