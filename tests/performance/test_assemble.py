"""How long it takes to join the readings of a large fleet, which happens at every refresh."""

import pytest
from fleets import NOW, FleetBuilder, default_interpretation
from pytest_benchmark.fixture import BenchmarkFixture

from spotd.fleet.assemble import assemble
from spotd.fleet.snapshot import Readings
from spotd.fleet.totals import contract_totals, out_of_stock_totals, pool_totals

AGGREGATES = (
    "H100-n3",
    "H100-n3-NVLink",
    "H100-n3-spot",
    "H100-n3-runpod",
    "Contract-ACME-16xH100",
    "A100-n3",
    "A100-n3-spot",
    "L40-n3",
    "RTX-A6000-n3",
    "RTX-A6000-n3-spot",
    "tempest",
)


def large_fleet(hosts: int) -> Readings:
    """Five servers a host; each server has a flavor object of its own, as after a restart."""
    builder = FleetBuilder()
    for number in range(hosts):
        aggregate = AGGREGATES[number % len(AGGREGATES)]
        gpu_type = "RTX-A6000" if aggregate.startswith("RTX") else aggregate.partition("-")[0]
        gpu_type = gpu_type if gpu_type in ("A100", "L40", "RTX-A6000") else "H100"
        name = f"gpu-{number:04d}"
        builder.host(name, aggregate, gpu_type=gpu_type, servers=(1, 1, 2, 2, 1), netbox="active")
    return builder.readings()


@pytest.mark.parametrize("hosts", [1000, 2000])
def test_joins_a_large_fleet_in_a_small_part_of_a_refresh(benchmark: BenchmarkFixture, hosts: int) -> None:
    readings, interpretation = large_fleet(hosts), default_interpretation()

    snapshot = benchmark(assemble, readings, interpretation, NOW)

    assert len(snapshot.hosts) == hosts
    assert snapshot.contradictions == ()


def test_sums_up_a_large_fleet_within_a_scrape(benchmark: BenchmarkFixture) -> None:
    snapshot = assemble(large_fleet(2000), default_interpretation(), NOW)

    totals = benchmark(
        lambda: (pool_totals(snapshot), contract_totals(snapshot), out_of_stock_totals(snapshot))
    )

    assert None not in totals
