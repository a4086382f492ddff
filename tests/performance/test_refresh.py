"""A refresh costs the same few requests whatever the number of hosts.

`SPOTD_TEST_LARGE=1 pytest tests/performance/test_refresh.py -s` measures 100, 500 and 2,000 hosts.
"""

import math
import os

import pytest
from performance.refresh import SIZES, Comparison, compare, table_of
from performance.served_cloud import SERVERS_PER_HOST
from rich.console import Console

LARGE = os.environ.get("SPOTD_TEST_LARGE") == "1"
SMALL_SIZES = (10, 30)
PAGE = 1000


@pytest.fixture(scope="module")
def comparisons() -> list[Comparison]:
    found = (
        [compare(hosts) for hosts in SIZES]
        if LARGE
        else [compare(hosts, steady_refreshes=3, living_pause_seconds=0.5) for hosts in SMALL_SIZES]
    )
    Console(width=110).print(table_of(found))
    return found


pytestmark = pytest.mark.timeout(1800 if LARGE else 120)


def test_both_ways_find_the_same_servers_and_gpus(comparisons: list[Comparison]) -> None:
    assert [one.earlier_found for one in comparisons] == [one.found for one in comparisons]


def test_a_quiet_refresh_is_three_requests_whatever_the_number_of_hosts(
    comparisons: list[Comparison],
) -> None:
    # Services, changed servers, and a look at one provider tree that tells whether Placement answers.
    assert {one.quiet.requests for one in comparisons} == {3}


def test_a_refresh_of_a_living_cloud_is_a_few_requests_whatever_the_number_of_hosts(
    comparisons: list[Comparison],
) -> None:
    # Services, changed servers, and of Placement two hosts, or all with up to three common classes and names.
    assert max(one.living.requests for one in comparisons) <= 7


def test_a_first_read_grows_by_pages_only(comparisons: list[Comparison]) -> None:
    for one in comparisons:
        pages = math.ceil(SERVERS_PER_HOST * one.hosts / PAGE) + math.ceil(1.2 * one.hosts / PAGE)

        assert one.full.requests <= 14 + pages


def test_asking_for_each_host_costs_two_requests_a_host_and_spotd_a_small_part_of_it(
    comparisons: list[Comparison],
) -> None:
    for one in comparisons:
        assert one.earlier.requests >= 2 * one.hosts
        assert one.earlier.requests >= 8 * one.quiet.requests
        assert one.earlier.received_bytes >= 5 * one.quiet.received_bytes
        assert one.earlier.cpu_seconds >= 5 * one.quiet.cpu_seconds
