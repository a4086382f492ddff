"""A real Prometheus scrapes `spotd run` on a real cloud while servers come and go: nothing is missed.

    PYTHONPATH=tests python -m performance.lab_watch [--minutes 10]

Needs `prometheus` on the path and a cloud named by SPOTD_TEST_CLOUD in which servers may be booted and
deleted. Each server is pinned to one host; measured is how long after Nova showed it on that host (or showed
it gone) the scrape told the new number. In the end Prometheus is asked for `up`, for failures of agents and
for gaps between its samples.
"""

import argparse
import contextlib
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from contract.under_test import CloudUnderTest, real_cloud, unique
from performance.running_daemon import free_port, running
from performance.served_cloud import CloudAddress

SCRAPE_SECONDS = 5
REFRESH_SECONDS = 5
PATIENCE_SECONDS = 60.0


@contextlib.contextmanager
def prometheus(target: str) -> Iterator[str]:
    """A Prometheus of its own that scrapes the target."""
    binary = shutil.which("prometheus")
    if binary is None:
        sys.exit("no `prometheus` on the path: apt-get install prometheus")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prometheus.yml"
        file.write_text(
            f"global: {{scrape_interval: {SCRAPE_SECONDS}s}}\n"
            f"scrape_configs: [{{job_name: spotd, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        listen = f"127.0.0.1:{free_port()}"
        command = [binary, f"--config.file={file}", f"--storage.tsdb.path={folder}/data"]
        with subprocess.Popen(
            [*command, f"--web.listen-address={listen}"], stderr=subprocess.DEVNULL
        ) as process:
            try:
                yield f"http://{listen}"
            finally:
                process.terminate()


@dataclass
class Watch:
    """Changes made and the seconds until the scrape told them."""

    cloud: CloudUnderTest
    metrics_url: str
    boots: list[float] = field(default_factory=list)
    deletes: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def told(self, host: str) -> float | None:
        text = requests.get(self.metrics_url, timeout=10).text
        found = re.search(
            rf'^spotd_host_servers{{[^}}]*\bhost="{re.escape(host)}"[^}}]*}} (\S+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else None

    def real(self, host: str) -> int:
        answer = self.cloud.nova("GET", f"/servers?all_tenants=1&host={host}")
        answer.raise_for_status()
        return len(answer.json()["servers"])

    def one(self, host: str) -> None:
        """A server comes and goes."""
        before = self.real(host)
        body = self.cloud.boot_body(unique("watch"), host=host)
        answer = self.cloud.nova("POST", "/servers", "2.74", json=body)
        answer.raise_for_status()
        server_id = answer.json()["server"]["id"]
        self._change(f"boot on {host}", host, before + 1, self.boots)
        self.cloud.nova("DELETE", f"/servers/{server_id}").raise_for_status()
        self._change(f"delete on {host}", host, before, self.deletes)

    def _change(self, what: str, host: str, wanted: int, seconds: list[float]) -> None:
        _until(lambda: self.real(host) == wanted)
        began = time.monotonic()
        if _until(lambda: self.told(host) == wanted):
            seconds.append(time.monotonic() - began)
        else:
            self.missed.append(f"{what}: Nova has {wanted}, the scrape says {self.told(host)}")


def _until(look: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if look():
            return True
        time.sleep(0.2)
    return False


def ask(prometheus_url: str, query: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{prometheus_url}/api/v1/query", params={"query": query}, timeout=10)
    answer.raise_for_status()
    return list(answer.json()["data"]["result"])


def verdict(watch: Watch, prometheus_url: str, minutes: float) -> int:
    """Prints what was seen; 1 when anything was missed."""
    over = f"[{int(minutes * 60)}s]"
    samples = [float(at) for at, _ in ask(prometheus_url, f"up{over}")[0]["values"]]
    longest = max(later - earlier for earlier, later in itertools.pairwise(samples))
    up = float(ask(prometheus_url, f"min_over_time(up{over})")[0]["value"][1])
    agents = {
        one["metric"]["agent"]: float(one["value"][1])
        for one in ask(prometheus_url, f"min_over_time(spotd_agent_success{over})")
    }
    gaps = ask(prometheus_url, f"count_over_time(spotd_host_servers{over}) < {len(samples) - 2}")
    for name, seconds in (("boots", watch.boots), ("deletes", watch.deletes)):
        if seconds:
            sys.stdout.write(
                f"{len(seconds)} {name} told after {statistics.median(seconds):.1f} s (median), "
                f"{max(seconds):.1f} s (longest)\n"
            )
    sys.stdout.write(
        f"{len(samples)} samples, longest gap {longest:.1f} s, min up {up:.0f}, min success {agents}, "
        f"series with fewer samples: {len(gaps)}\n"
    )
    bad = [*watch.missed]
    if up < 1 or min(agents.values()) < 1 or gaps or longest > 2 * SCRAPE_SECONDS:
        bad.append("not every sample is there and good")
    sys.stdout.write("\n".join(bad or ["every change was told, no sample is missing"]) + "\n")
    return 1 if bad else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    chosen = parser.parse_args()
    cloud = real_cloud()
    if cloud is None:
        sys.exit("no real cloud: set SPOTD_TEST_CLOUD")
    address = CloudAddress(
        cloud=cloud.name,
        clouds_file=os.environ["OS_CLIENT_CONFIG_FILE"],
        netbox_url=os.environ.get("SPOTD_TEST_NETBOX_URL", ""),
        netbox_token=os.environ.get("SPOTD_TEST_NETBOX_TOKEN", ""),
    )
    services = cloud.nova("GET", "/os-services?binary=nova-compute").json()["services"]
    hosts = [one["host"] for one in services if (one["status"], one["state"]) == ("enabled", "up")]
    with running(address, snapshot_seconds=REFRESH_SECONDS) as url:
        watch = Watch(cloud, f"{url}/metrics")
        if not _until(lambda: _answers(url) and any(watch.told(host) is not None for host in hosts)):
            sys.exit("spotd told no servers in time")
        hosts = [host for host in hosts if watch.told(host) is not None]
        with prometheus(url.removeprefix("http://")) as prometheus_url:
            _until(lambda: _answers(prometheus_url))
            time.sleep(2 * SCRAPE_SECONDS)
            started = time.monotonic()
            turn = 0
            while (spent := time.monotonic() - started) < chosen.minutes * 60:
                watch.one(hosts[turn % len(hosts)])
                turn += 1
            sys.exit(verdict(watch, prometheus_url, spent / 60))


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main()
