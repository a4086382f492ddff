"""How long a scrape of 2,000 hosts takes; `--benchmark-enable` measures it."""

from dataclasses import replace
from typing import Any

import pytest
from fleets import FleetBuilder
from prometheus_client import CollectorRegistry

from spotd.clock import SystemClock
from spotd.fleet.snapshot import FleetSnapshot
from spotd.metrics.own import Metrics
from spotd.web.scrape import Scrape

HOSTS = 2000
ACCEPTS = {"text": "", "openmetrics": "application/openmetrics-text;version=1.0.0"}


@pytest.fixture(scope="module")
def fleet() -> FleetSnapshot:
    builder = FleetBuilder()
    for number in range(HOSTS):
        gpu_type = ("H100", "A100", "L40")[number % 3]
        pool = ("", "-spot", "-runpod")[number // 3 % 3]
        builder.host(
            f"gpu-{number:04}.example.com",
            f"{gpu_type}-n3{pool}",
            gpu_type=gpu_type,
            servers=(4, 2) if number % 2 else (),
            netbox="active",
        )
    return builder.snapshot()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("accept", ACCEPTS.values(), ids=ACCEPTS)
def test_a_scrape_of_a_snapshot_seen_before(
    benchmark: Any, fleet: FleetSnapshot, accept: str, encoding: str
) -> None:
    scrape = Scrape(Metrics(CollectorRegistry(), lambda: fleet, SystemClock()))
    scrape.answer(accept, encoding)

    answer = benchmark(scrape.answer, accept, encoding)

    assert len(answer.body) > 10_000
    if benchmark.stats is not None:
        assert benchmark.stats.stats.median < 0.05


@pytest.mark.parametrize("accept", ACCEPTS.values(), ids=ACCEPTS)
def test_rendering_a_snapshot_for_the_first_time(benchmark: Any, fleet: FleetSnapshot, accept: str) -> None:
    latest = [fleet]
    scrape = Scrape(Metrics(CollectorRegistry(), lambda: latest[0], SystemClock()))

    def first() -> bytes:
        latest[0] = replace(fleet)
        return scrape.answer(accept, "gzip").body

    assert len(benchmark(first)) > 10_000
