"""How near spotd comes, on a real cloud, to the time that the cloud itself needs to answer.

    export SPOTD_TEST_CLOUD=NAME OS_CLIENT_CONFIG_FILE=clouds.yaml
    export SPOTD_TEST_NETBOX_URL=... SPOTD_TEST_NETBOX_TOKEN=...     without: no NetBox
    PYTHONPATH=tests python -m performance.lab [--rounds 15] [--cold-rounds 3] [--daemon-seconds 120]

It only reads. In each round spotd refreshes, and the requests that it sends are also sent in parallel
with nothing read but bytes; who goes first changes with each round. The ratio is what spotd itself adds.
`quiet` is the usual refresh; `every source` asks all four sources although their caches are fresh, as
happens every few minutes; `cold` logs in and walks over all servers. Some requests go out only after others
were answered, so that a missing cell is noticed: that waiting is spotd's and counts.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from performance import running_daemon
from performance.meter import MEGABYTE, Cost, Meter, resident_bytes
from performance.raw_requests import RawClient, Sent, written_down
from performance.served_cloud import CloudAddress
from performance.spotd_way import collect_whole, region_of
from rich.console import Console
from rich.table import Table

from spotd.agents.state import AgentName

WHY_NO_CLOUD = (
    "set SPOTD_TEST_CLOUD to the name of a cloud in clouds.yaml to measure against a real OpenStack"
)


@dataclass
class Rounds:
    """One kind of refresh, round after round beside its raw requests."""

    name: str
    spotd: list[Cost] = field(default_factory=list)
    raw_seconds: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """The median of the rounds' own ratios: a cloud that slows down slows both of a round."""
        pairs = zip(self.spotd, self.raw_seconds, strict=True)
        return statistics.median(cost.wall_seconds / raw for cost, raw in pairs)


def measure_steady(
    address: CloudAddress, kinds: dict[str, frozenset[AgentName]], rounds: int, report: Callable[[str], None]
) -> list[Rounds]:
    """Steady refreshes of one region, each kind in each round."""
    meter, raw = Meter(), RawClient()
    region = region_of(address, meter.observe)
    collect_whole(region)
    found = [Rounds(name) for name in kinds]
    last: dict[str, list[Sent]] = {}
    for number in range(rounds + 1):
        for one in found:
            raw_first = number % 2 == 1
            seconds = raw.send(last[one.name]) if raw_first else 0.0
            with written_down() as sent:
                cost = meter.measure(lambda force=kinds[one.name]: collect_whole(region, force=force))
            last[one.name] = sent
            if not raw_first:
                seconds = raw.send(sent)
            if number:  # the first round opens the connections
                one.spotd.append(cost)
                one.raw_seconds.append(seconds)
                report(f"{one.name}: spotd {cost.wall_seconds:.3f} s, raw {seconds:.3f} s")
    report(f"resident after it all: {resident_bytes() / MEGABYTE:.0f} MB")
    region.close()
    raw.close()
    return found


def measure_cold(address: CloudAddress, rounds: int, report: Callable[[str], None]) -> Rounds:
    """First collections by new regions, and their requests raw over new connections."""
    found, last = Rounds("cold"), list[Sent]()
    for number in range(rounds):
        raw_first = number % 2 == 1
        seconds = _raw_cold(last) if raw_first else 0.0
        meter = Meter()
        region = region_of(address, meter.observe)
        with written_down() as last:
            cost = meter.measure(lambda region=region: collect_whole(region))
        region.close()
        if not raw_first:
            seconds = _raw_cold(last)
        found.spotd.append(cost)
        found.raw_seconds.append(seconds)
        report(f"cold: spotd {cost.wall_seconds:.3f} s, raw {seconds:.3f} s")
    return found


def _raw_cold(sent: list[Sent]) -> float:
    raw = RawClient()
    seconds = raw.send(sent)
    raw.close()
    return seconds


def table_of(found: list[Rounds]) -> Table:
    """One row for each kind of refresh; medians."""
    table = Table(title="spotd beside the same requests raw and in parallel, medians")
    for name in ("refresh", "rounds", "requests", "received MB", "spotd s", "raw s", "ratio", "own CPU s"):
        table.add_column(name, justify="right")
    for one in found:
        table.add_row(
            one.name,
            str(len(one.spotd)),
            f"{statistics.median(cost.requests for cost in one.spotd):g}",
            f"{statistics.median(cost.received_bytes for cost in one.spotd) / MEGABYTE:.2f}",
            f"{statistics.median(cost.wall_seconds for cost in one.spotd):.3f}",
            f"{statistics.median(one.raw_seconds):.3f}",
            f"{one.ratio():.3f}",
            f"{statistics.median(cost.cpu_seconds for cost in one.spotd):.3f}",
        )
    return table


def address_from_environment() -> CloudAddress | None:
    """The cloud that the environment names; None where it names none."""
    cloud = os.environ.get("SPOTD_TEST_CLOUD")
    if not cloud:
        return None
    return CloudAddress(
        clouds_file=os.environ.get("OS_CLIENT_CONFIG_FILE", ""),
        cloud=cloud,
        netbox_url=os.environ.get("SPOTD_TEST_NETBOX_URL", ""),
        netbox_token=os.environ.get("SPOTD_TEST_NETBOX_TOKEN", ""),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m performance.lab", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cold-rounds", type=int, default=3)
    parser.add_argument("--daemon-seconds", type=float, default=120.0)
    options = parser.parse_args()
    console, progress = Console(width=110), Console(stderr=True)
    address = address_from_environment()
    if address is None:
        progress.print(WHY_NO_CLOUD)
        return 1
    kinds = {"quiet": frozenset[AgentName](), "every source": frozenset(AgentName)}
    found = measure_steady(address, kinds, options.rounds, progress.print)
    if options.cold_rounds:
        found.append(measure_cold(address, options.cold_rounds, progress.print))
    console.print(table_of(found))
    if options.daemon_seconds:
        console.print(running_daemon.table_of(running_daemon.watch(address, options.daemon_seconds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
