"""A daemon that has run for hours holds no more than after its first refreshes.

`SPOTD_TEST_LARGE=1 pytest tests/performance/test_steady_memory.py` makes 1,000 refreshes instead of 200.
"""

import os

import pytest
from performance.meter import MEGABYTE
from performance.steady_memory import measure

REFRESHES = 1000 if os.environ.get("SPOTD_TEST_LARGE") == "1" else 200


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_memory_after_many_refreshes_of_a_living_cloud_is_that_after_ten() -> None:
    states = measure(REFRESHES, hosts=60, traced=True)

    first, last = states[0], states[-1]
    servers_more = max(0, last["servers"] - first["servers"])
    # A server more is a few objects more; the rest is what a look catches by chance.
    assert last["traced_bytes"] < first["traced_bytes"] * 1.05 + 0.5 * MEGABYTE + 2000 * servers_more
    assert last["blocks"] < first["blocks"] * 1.01 + 20 * servers_more
    assert last["threads"] <= first["threads"] + 1
    assert last["open_files"] <= first["open_files"] + 2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_resident_memory_stays_where_it_was_after_the_first_refreshes() -> None:
    states = measure(REFRESHES, hosts=60, traced=False)

    settled = states[1]["resident_bytes"]
    assert states[-1]["resident_bytes"] < settled * 1.05 + 2 * MEGABYTE
