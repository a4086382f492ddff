"""What a refresh of a whole region costs, and what it costs to ask for each host instead.

    PYTHONPATH=tests python -m performance.refresh [HOSTS ...]     default: 100 500 2000; 5 minutes

Each row is a process of its own against an embedded cloud in another, on one machine, 20 ms away.
Nothing bounds the times here: they say what this machine did. Counts and ratios are tested.
"""

import sys
from dataclasses import dataclass

from performance.meter import MEGABYTE, Cost
from performance.served_cloud import GPUS_PER_HOST, SERVERS_PER_HOST, in_fresh_process, served_cloud
from rich.console import Console
from rich.table import Table

LATENCY_SECONDS = 0.02
CHANGES_PER_SECOND = 2.0
LIVING_PAUSE_SECONDS = 2.0
SIZES = (100, 500, 2000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One size of cloud."""

    hosts: int
    full: Cost
    """The first collection: log in, all servers, all devices, everything else."""
    quiet: Cost
    """A steady refresh while nothing happens."""
    living: Cost
    """A steady refresh while servers boot and go, two a second."""
    earlier: Cost
    """One refresh that asks for each host."""
    found: dict[str, int]
    earlier_found: dict[str, int]


def compare(
    hosts: int, *, steady_refreshes: int = 7, living_pause_seconds: float = LIVING_PAUSE_SECONDS
) -> Comparison:
    """Measures both ways on clouds of one size."""
    with served_cloud(hosts, latency_seconds=LATENCY_SECONDS) as address:
        task = {"cloud": address.as_json(), "steady_refreshes": steady_refreshes, "pause_seconds": 0.0}
        quiet = in_fresh_process("performance.spotd_way", task)
        earlier = in_fresh_process("performance.earlier_way", task)
    with served_cloud(
        hosts, latency_seconds=LATENCY_SECONDS, changes_per_second=CHANGES_PER_SECOND
    ) as address:
        task |= {"cloud": address.as_json(), "pause_seconds": living_pause_seconds}
        living = in_fresh_process("performance.spotd_way", task)
    return Comparison(
        hosts=hosts,
        full=Cost(**quiet["full"]),
        quiet=Cost(**quiet["steady"]),
        living=Cost(**living["steady"]),
        earlier=Cost(**earlier["refresh"]),
        found=quiet["found"],
        earlier_found=earlier["found"],
    )


def table_of(comparisons: list[Comparison]) -> Table:
    """One row for each way and size."""
    table = Table(
        title=f"One refresh: {GPUS_PER_HOST} GPUs and {SERVERS_PER_HOST} servers a host, "
        f"{LATENCY_SECONDS * 1000:.0f} ms a request"
    )
    for name in ("hosts", "refresh"):
        table.add_column(name)
    for name in ("requests", "received MB", "wall s", "own CPU s", "peak MB", "after MB"):
        table.add_column(name, justify="right")
    for one in comparisons:
        rows = {
            "spotd, first": one.full,
            "spotd, steady, quiet": one.quiet,
            f"spotd, steady, {CHANGES_PER_SECOND:g} changes/s": one.living,
            "host by host": one.earlier,
        }
        for name, cost in rows.items():
            table.add_row(str(one.hosts), name, *_cells(cost))
        table.add_section()
    return table


def _cells(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.requests}",
        f"{cost.received_bytes / MEGABYTE:.2f}",
        f"{cost.wall_seconds:.2f}",
        f"{cost.cpu_seconds:.2f}",
        f"{cost.peak_bytes / MEGABYTE:.0f}",
        f"{cost.resident_bytes / MEGABYTE:.0f}",
    )


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    console = Console(width=110)
    console.print(table_of([compare(hosts) for hosts in sizes]))


if __name__ == "__main__":
    main()
