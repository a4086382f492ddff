"""What a daemon's memory does over many refreshes of a living cloud.

    PYTHONPATH=tests python -m performance.steady_memory [REFRESHES]     default: 1000; 1 minute

Time runs fast for the agents, 15 s a refresh, so that walks over all servers, full reads of Placement and
expired caches are among the refreshes, as they are in a daemon that runs for hours.
"""

import gc
import json
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from performance.meter import MEGABYTE, resident_bytes
from performance.served_cloud import CloudAddress, in_fresh_process, served_cloud
from performance.spotd_way import collect_whole, region_of, what_it_found
from rich.console import Console
from rich.table import Table

from spotd.agents.state import AgentName
from spotd.clouds.transport import unobserved
from spotd.daemon.allocator import return_freed_memory

HOSTS = 300
CHANGES_PER_SECOND = 20.0
SECONDS_PER_REFRESH = 15.0
FORCED_EVERY = 25
"""The caches of aggregates and devices keep their own time: these refreshes ask in any case."""
SETTLED = 10
"""After so many refreshes what is kept for good has been made."""


class FastClock:
    """The machine's wall time, and a monotonic time that is turned by hand."""

    def __init__(self) -> None:
        self._turned = 0.0

    def turn(self, seconds: float) -> None:
        self._turned += seconds

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic() + self._turned


def state_of_process() -> dict[str, int]:
    """What may not grow from refresh to refresh."""
    gc.collect()
    return {
        "traced_bytes": tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
        "resident_bytes": resident_bytes(),
        "blocks": sys.getallocatedblocks(),
        "threads": threading.active_count(),
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
    }


def run_refreshes(task: dict[str, Any]) -> list[dict[str, int]]:
    """The state after 10 refreshes, and after each tenth part of the rest."""
    return_freed_memory()  # as `spotd run` does
    clock = FastClock()
    region = region_of(CloudAddress.from_json(task["cloud"]), unobserved, clock)
    if task["traced"]:
        tracemalloc.start()
    looks = {
        SETTLED,
        *range(SETTLED, task["refreshes"] + 1, max(1, task["refreshes"] // 10)),
        task["refreshes"],
    }
    states: list[dict[str, int]] = []
    for number in range(1, task["refreshes"] + 1):
        force = frozenset(AgentName) if number % FORCED_EVERY == 0 else frozenset()
        collect_whole(region, force=force)
        clock.turn(SECONDS_PER_REFRESH)
        if number in looks:
            servers = what_it_found(region)["servers"]
            states.append({"refreshes": number, "servers": servers} | state_of_process())
    region.close()
    return states


def measure(refreshes: int, *, hosts: int = HOSTS, traced: bool) -> list[dict[str, int]]:
    """Runs them in a fresh process; tracing is exact, but slow, and makes the process larger."""
    with served_cloud(hosts, changes_per_second=CHANGES_PER_SECOND) as address:
        task = {"cloud": address.as_json(), "refreshes": refreshes, "traced": traced}
        states: list[dict[str, int]] = in_fresh_process("performance.steady_memory", task)
        return states


def table_of(states: list[dict[str, int]], title: str) -> Table:
    """One row for each look."""
    table = Table(title=title)
    for name in ("refreshes", "servers", "traced MB", "resident MB", "blocks", "threads", "open files"):
        table.add_column(name, justify="right")
    for state in states:
        table.add_row(
            str(state["refreshes"]),
            str(state["servers"]),
            f"{state['traced_bytes'] / MEGABYTE:.2f}" if state["traced_bytes"] else "",
            f"{state['resident_bytes'] / MEGABYTE:.1f}",
            *(str(state[name]) for name in ("blocks", "threads", "open_files")),
        )
    return table


def main() -> None:
    if not sys.stdin.isatty() and len(sys.argv) == 1 and (text := sys.stdin.read()):
        json.dump(run_refreshes(json.loads(text)), sys.stdout)
        return
    refreshes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for traced in (False, True):
        title = f"Memory over {refreshes} refreshes, {HOSTS} hosts, {CHANGES_PER_SECOND:g} changes/s"
        Console(width=110).print(table_of(measure(refreshes, traced=traced), title))


if __name__ == "__main__":
    main()
