"""The whole daemon, `spotd run` with its defaults, watched from outside as Prometheus would."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import requests
from performance.meter import MEGABYTE
from performance.served_cloud import ROOT, CloudAddress
from rich.table import Table

SCRAPE_SECONDS = 15.0
FIRST_WALK_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What the daemon did between its first whole snapshot and the end."""

    seconds: float
    collections: int
    cpu_seconds: float
    """All of the process: collections, scrapes, scheduler."""
    resident_bytes: int
    """The most that any scrape saw."""
    last_collection_seconds: float
    scrape_bytes: int


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running(address: CloudAddress, *, snapshot_seconds: int | None = None) -> Iterator[str]:
    """The daemon, refreshing so often or as it does by default; yields its URL."""
    listen = f"127.0.0.1:{free_port()}"
    environment = os.environ | {
        "OS_CLIENT_CONFIG_FILE": address.clouds_file,
        "SPOTD_OPENSTACK__CLOUD": address.cloud,
        "SPOTD_WEB__LISTEN_ADDRESS": listen,
    }
    if snapshot_seconds is not None:
        environment["SPOTD_CACHE__SNAPSHOT_SECONDS"] = str(snapshot_seconds)
    if address.netbox_url:
        environment |= {"SPOTD_NETBOX__URL": address.netbox_url, "SPOTD_NETBOX__TOKEN": address.netbox_token}
    command = [sys.executable, "-m", "spotd", "run", "--log.level", "error"]
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        try:
            yield f"http://{listen}"
        finally:
            process.terminate()


def _scrape(url: str) -> tuple[dict[str, float], int]:
    """Samples without labels, and the size of the answer."""
    answer = requests.get(f"{url}/metrics", timeout=10)
    answer.raise_for_status()
    return {
        match[1]: float(match[2]) for match in re.finditer(r"^(\w+) (\S+)$", answer.text, re.MULTILINE)
    } | {"walked": float('spotd_agent_items{agent="servers",kind="servers"}' in answer.text)}, len(
        answer.content
    )


def _scrape_walked(url: str) -> dict[str, float]:
    """The first scrape after the walk over all servers."""
    ends_at = time.monotonic() + FIRST_WALK_SECONDS
    while time.monotonic() < ends_at:
        try:
            samples, _ = _scrape(url)
        except requests.RequestException:
            samples = {}
        if samples.get("walked"):
            return samples
        time.sleep(1)
    raise RuntimeError("no snapshot with servers in time")


def watch(address: CloudAddress, seconds: float) -> Watched:
    """Runs the daemon, waits until all servers are known, then scrapes it for so many seconds."""
    with running(address) as url:
        first = last = _scrape_walked(url)
        most, size, started = 0.0, 0, time.monotonic()
        while time.monotonic() - started < seconds:
            time.sleep(SCRAPE_SECONDS)
            last, size = _scrape(url)
            most = max(most, last["process_resident_memory_bytes"])
        return Watched(
            seconds=time.monotonic() - started,
            collections=int(last["spotd_collections_total"] - first["spotd_collections_total"]),
            cpu_seconds=last["process_cpu_seconds_total"] - first["process_cpu_seconds_total"],
            resident_bytes=int(most),
            last_collection_seconds=last["spotd_collection_duration_seconds"],
            scrape_bytes=size,
        )


def table_of(watched: Watched) -> Table:
    """One row."""
    table = Table(title="spotd run, its defaults, scraped every 15 s, after the first walk")
    names = ("seconds", "collections", "CPU s per collection", "last collection s", "RSS MB", "scrape MB")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row(
        f"{watched.seconds:.0f}",
        str(watched.collections),
        f"{watched.cpu_seconds / max(1, watched.collections):.3f}",
        f"{watched.last_collection_seconds:.2f}",
        f"{watched.resident_bytes / MEGABYTE:.0f}",
        f"{watched.scrape_bytes / MEGABYTE:.2f}",
    )
    return table
